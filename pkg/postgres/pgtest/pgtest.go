// Package pgtest gives each test a database of its own on a real Postgres. It owns the databases that tests use and
// nothing in them.
//
// The first call in a test binary joins or starts the private server for tests (see localpg), which ends by itself
// when the last test binary has. Databases are clones of a migrated template, made once per day and content of the
// migrations, so a test pays for a copy and not for the migrations.
package pgtest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/localpg"
)

// Database is the migrated database on a server of NewServer.
const Database = "sonicus"

// patience bounds each step here; copying a database takes a tenth of a second where nothing else goes on.
const patience = 2 * time.Minute

// New returns a pool of at most 10 connections to an empty, migrated database of the test's own. The test's cleanup
// closes the pool and drops the database, along with connections that others still have to it.
func New(t testing.TB) *sqlx.DB {
	t.Helper()
	return Open(t, NewURL(t))
}

// Open returns a pool of at most 10 connections that the test's cleanup closes.
func Open(t testing.TB, url string) *sqlx.DB {
	t.Helper()
	ctx, cancel := within(t)
	defer cancel()
	db, err := postgres.Connect(ctx, url, postgres.Options{Application: "pgtest", MaxOpen: 10})
	if err != nil {
		t.Fatalf("connect to the test's database: %v", err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// NewURL is New for whoever opens the database itself, a child process for example.
func NewURL(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("a Postgres for tests: %v", err)
	}
	ctx, cancel := within(t)
	defer cancel()
	name := s.nextName()
	if err := s.server.CreateDatabase(ctx, name, s.template); err != nil {
		t.Fatalf("a database for the test: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience) // t's own context has ended
		defer cancel()
		if err := s.server.DropDatabase(ctx, name); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return s.server.URL(name)
}

// NewServer returns a server of the test's own, with a migrated database named Database, that the test may stop and
// restart. Commits survive that. The test's cleanup stops it and removes its data.
func NewServer(t testing.TB) *localpg.Server {
	t.Helper()
	ctx, cancel := within(t)
	defer cancel()
	server, err := localpg.Start(ctx, localpg.Options{Exclusive: true})
	if err != nil {
		t.Fatalf("a Postgres of the test's own: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	if err := makeMigrated(ctx, server, Database); err != nil {
		t.Fatalf("a database on the test's own Postgres: %v", err)
	}
	return server
}

// NewPooler returns the way to a database through a PgBouncer of the test's own, in transaction mode. Where PgBouncer
// cannot be had the test is skipped, except in continuous integration: whoever sets CI wants to know.
func NewPooler(t testing.TB, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // may have to download it
	defer cancel()
	pooler, err := localpg.StartPooler(ctx, url, func(line string) { t.Log(line) })
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("a PgBouncer for the test: %v", err)
	case err != nil:
		t.Skipf("SKIPPED, nothing is tested behind a pooler: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("PgBouncer logged:\n%s", pooler.Log())
		}
		if err := pooler.Close(); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return pooler.URL()
}

func within(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), patience)
}
