package pgtest

import (
	"context"
	"os/exec"
	"strconv"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/sonicus/webhooks/pkg/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			db := New(t)
			var tables int
			if err := db.Get(&tables, `SELECT count(*) FROM pg_tables WHERE schemaname = 'sonicus'`); err != nil {
				t.Fatal(err)
			}
			if err := postgres.CheckSchema(t.Context(), db); err != nil || tables == 0 {
				t.Errorf("%d tables, %v", tables, err)
			}
			if _, err := db.Exec(`CREATE TABLE mine ()`); err != nil { // fails if another test sees it
				t.Error(err)
			}
		})
	}
}

func TestDatabaseIsDroppedUnderOpenConnections(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("User", func(t *testing.T) {
		url = NewURL(t)
		leak, err := postgres.Connect(t.Context(), url, postgres.Options{Application: "leak", MaxOpen: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = leak.Close() })
		if err := leak.Ping(); err != nil {
			t.Fatal(err)
		}
	})
	gone, err := postgres.Connect(t.Context(), url, postgres.Options{Application: "gone", MaxOpen: 1})
	if err == nil {
		err = gone.Ping()
		_ = gone.Close()
	}
	if err == nil {
		t.Error("the database outlives its test")
	}
}

// Test binaries run at the same time, all of them wanting the template.
func TestTemplateIsMadeOnceByManyAtOnce(t *testing.T) {
	t.Parallel()
	server := NewServer(t)
	failed := make(chan error, 4)
	for range cap(failed) {
		go func() {
			_, err := newSource(context.WithoutCancel(t.Context()), server, time.Now())
			failed <- err
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	var templates int
	db := Open(t, server.URL("postgres"))
	if err := db.Get(&templates, `SELECT count(*) FROM pg_database WHERE datname LIKE 'sonicus\_%'`); err != nil || templates != 1 {
		t.Errorf("%d databases, %v; want the template alone", templates, err)
	}
}

func TestServerKeepsCommitsOverACrash(t *testing.T) {
	t.Parallel()
	server := NewServer(t)
	if _, err := Open(t, server.URL(Database)).Exec(`CREATE TABLE kept AS SELECT 1 AS n`); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := Open(t, server.URL(Database)).Get(new(int), `SELECT n FROM kept`); err != nil {
		t.Error(err)
	}
}

func TestLeftoversOfKilledTestsAreDropped(t *testing.T) {
	t.Parallel()
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	server := NewServer(t)
	left := []string{
		buildingPrefix + "1", templateName(time.Now().AddDate(0, 0, -2), "content"),
		hostPrefix() + strconv.Itoa(ended.Process.Pid) + "_1",
	}
	kept := []string{templateName(time.Now().AddDate(0, 0, -1), "content"), hostPrefix() + "1_1", testPrefix + "elsewhere_1_1"}
	for _, name := range append(left, kept...) {
		if err := server.CreateDatabase(t.Context(), name, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newSource(t.Context(), server, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if exists(t, server.URL("postgres"), name) {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range kept {
		if !exists(t, server.URL("postgres"), name) {
			t.Errorf("%s is gone", name)
		}
	}
}

func exists(t *testing.T, url, name string) bool {
	t.Helper()
	var n int
	if err := Open(t, url).Get(&n, `SELECT count(*) FROM pg_database WHERE datname = $1`, name); err != nil {
		t.Fatal(err)
	}
	return n == 1
}

func TestTemplateFollowsTheMigrations(t *testing.T) {
	t.Parallel()
	hash := func(files fstest.MapFS) string {
		h, err := contentOf(files)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	base := hash(fstest.MapFS{"1.sql": {Data: []byte("a")}})
	if same := hash(fstest.MapFS{"1.sql": {Data: []byte("a")}}); same != base {
		t.Errorf("%s and %s for the same migrations", base, same)
	}
	for name, files := range map[string]fstest.MapFS{
		"Edited": {"1.sql": {Data: []byte("b")}}, "Renamed": {"2.sql": {Data: []byte("a")}},
		"Added": {"1.sql": {Data: []byte("a")}, "2.sql": {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if hash(files) == base {
				t.Error("the same template for other migrations")
			}
		})
	}
}
