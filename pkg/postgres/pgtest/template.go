package pgtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/db"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/localpg"
)

const (
	templatePrefix = "sonicus_template_"
	buildingPrefix = "sonicus_building_"
	testPrefix     = "sonicus_test_"
	day            = "20060102"
)

// shared is the server of this test binary. It is a package variable because tests of one binary can share nothing
// else, and it is never let go: the end of the process does that.
var shared = sync.OnceValues(func() (*source, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // may have to install Postgres
	defer cancel()
	server, err := localpg.Start(ctx, localpg.Options{})
	if err != nil {
		return nil, err
	}
	return newSource(ctx, server, time.Now())
})

// source is where databases come from.
type source struct {
	server   *localpg.Server
	template string
	mine     string // prefix of this process's databases
	made     atomic.Int64
}

func (s *source) nextName() string { return s.mine + strconv.FormatInt(s.made.Add(1), 10) }

// newSource makes the template unless it is there, and drops what killed tests have left. A lock in the server makes
// test binaries take turns.
func newSource(ctx context.Context, server *localpg.Server, now time.Time) (*source, error) {
	content, err := contentOf(db.Migrations)
	if err != nil {
		return nil, err
	}
	pool, err := postgres.Connect(ctx, server.URL("postgres"), postgres.Options{Application: "pgtest", MaxOpen: 1})
	if err != nil {
		return nil, err
	}
	defer pool.Close() //nolint:errcheck // releases the lock, too
	if _, err := pool.ExecContext(ctx, `SELECT pg_advisory_lock(hashtext('sonicus pgtest'))`); err != nil {
		return nil, fmt.Errorf("wait for other test binaries: %w", err)
	}
	s := &source{server: server, template: templateName(now, content), mine: hostPrefix() + strconv.Itoa(os.Getpid()) + "_"}
	if err := s.tidy(ctx, pool, now); err != nil {
		return nil, fmt.Errorf("drop what killed tests have left: %w", err)
	}
	if err := s.ensureTemplate(ctx, pool); err != nil {
		return nil, fmt.Errorf("make the template: %w", err)
	}
	return s, nil
}

// templateName carries the day, because the migrations make partitions for the days around their own.
func templateName(now time.Time, content string) string {
	return templatePrefix + now.UTC().Format(day) + "_" + content
}

// hostPrefix starts the names of databases made on this machine: a server may serve several machines, and a process
// id means something on its own only.
func hostPrefix() string {
	host, _ := os.Hostname()
	sum := sha256.Sum256([]byte(host))
	return testPrefix + hex.EncodeToString(sum[:3]) + "_"
}

// contentOf is a short hash over the names and bytes of all migrations.
func contentOf(files fs.FS) (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(content), content)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:6]), err
}

// ensureTemplate builds under another name, so that a template is complete or not there.
func (s *source) ensureTemplate(ctx context.Context, pool *sqlx.DB) error {
	err := pool.GetContext(ctx, new(int), `SELECT 1 FROM pg_database WHERE datname = $1`, s.template)
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	building := buildingPrefix + strconv.Itoa(os.Getpid())
	if err := makeMigrated(ctx, s.server, building); err != nil {
		return err
	}
	from, to := pq.QuoteIdentifier(building), pq.QuoteIdentifier(s.template)
	_, err = pool.ExecContext(ctx, `ALTER DATABASE `+from+` WITH ALLOW_CONNECTIONS false`) // a connection would hinder copies
	if err == nil {
		_, err = pool.ExecContext(ctx, `ALTER DATABASE `+from+` RENAME TO `+to)
	}
	return err
}

func makeMigrated(ctx context.Context, server *localpg.Server, name string) error {
	if err := server.CreateDatabase(ctx, name, ""); err != nil {
		return err
	}
	return postgres.Migrate(ctx, server.URL(name), slog.New(slog.DiscardHandler))
}

// tidy runs under the lock, so an unfinished template has nobody who would finish it.
func (s *source) tidy(ctx context.Context, pool *sqlx.DB, now time.Time) error {
	var names []string
	if err := pool.SelectContext(ctx, &names, `SELECT datname FROM pg_database WHERE datname LIKE 'sonicus\_%'`); err != nil {
		return err
	}
	for _, name := range names {
		if stale(name, now, processExists) {
			if err := s.server.DropDatabase(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// stale says whether nobody needs a database any more: an unfinished template, one from before yesterday, or the
// database of a process on this machine that has ended.
func stale(name string, now time.Time, exists func(pid int) bool) bool {
	if strings.HasPrefix(name, buildingPrefix) {
		return true
	}
	if rest, ok := strings.CutPrefix(name, templatePrefix); ok {
		made, _, _ := strings.Cut(rest, "_")
		return made < now.UTC().AddDate(0, 0, -1).Format(day)
	}
	if rest, ok := strings.CutPrefix(name, hostPrefix()); ok {
		owner, _, _ := strings.Cut(rest, "_")
		pid, err := strconv.Atoi(owner)
		return err == nil && !exists(pid)
	}
	return false
}

func processExists(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
