package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/sonicus/webhooks/db"
)

const (
	versionTable = "sonicus.goose_db_version"
	// lockPatience is how many seconds a process waits for another that migrates.
	lockPatience = 300
)

// Migration is the state of one migration.
type Migration struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // nil: pending
}

// Migrate brings the schema to the newest version. Any number of processes may
// call it at once: one does the work under a lock and the others wait. directURL
// must not lead through a transaction pooler, which would lose the lock.
func Migrate(ctx context.Context, directURL string, log *slog.Logger) error {
	return withProvider(ctx, directURL, func(p *goose.Provider) error {
		done, err := p.Up(ctx)
		for _, m := range done {
			log.LogAttrs(ctx, slog.LevelInfo, "migration applied", slog.String("migration", name(m.Source)), slog.Duration("took", m.Duration))
		}
		return err
	})
}

// MigrateDown takes back the newest applied migration and returns its name, or
// "" when there is none left.
func MigrateDown(ctx context.Context, directURL string) (string, error) {
	var undone string
	err := withProvider(ctx, directURL, func(p *goose.Provider) error {
		m, err := p.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return nil
		}
		if err == nil {
			undone = name(m.Source)
		}
		return err
	})
	return undone, err
}

func withProvider(ctx context.Context, directURL string, fn func(*goose.Provider) error) error {
	pool, err := Connect(ctx, directURL, Options{Application: "sonicus-migrate", MaxOpen: 2, Patient: true})
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	if err := createSchema(ctx, pool); err != nil {
		return fmt.Errorf("create schema sonicus: %w", err)
	}
	files, err := fs.Sub(db.Migrations, "migrations")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, lockPatience))
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, pool.DB, files,
		goose.WithTableName(versionTable), goose.WithSessionLocker(locker), goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := fn(p); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// createSchema comes before goose, whose version table lives in the schema. IF
// NOT EXISTS still collides with a twin at the same instant (23505 on
// pg_namespace): then the schema is there.
func createSchema(ctx context.Context, pool *sqlx.DB) error {
	var exists bool
	if err := pool.GetContext(ctx, &exists, `SELECT to_regnamespace('sonicus') IS NOT NULL`); err != nil || exists {
		return err
	}
	err := InTx(ctx, pool, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS sonicus`)
		if err == nil {
			_, err = tx.ExecContext(ctx, `COMMENT ON SCHEMA sonicus IS 'Organizations, their events, and the delivery of those to webhook endpoints.'`)
		}
		return err
	})
	if e, ok := errors.AsType[*pq.Error](err); ok && e.Code == "23505" {
		return nil
	}
	return err
}

func name(s *goose.Source) string { return s.Path[strings.LastIndex(s.Path, "/")+1:] }

// ErrPending: the database lacks migrations that this binary knows. The error
// names them and says what to do.
var ErrPending = errors.New("pending migrations")

// Migrations lists every migration of this binary, in order, and when the
// database got it. It only reads.
func Migrations(ctx context.Context, pool *sqlx.DB) ([]Migration, error) {
	entries, err := fs.ReadDir(db.Migrations, "migrations")
	if err != nil {
		return nil, err
	}
	applied, err := appliedVersions(ctx, pool)
	if err != nil {
		return nil, err
	}
	all := make([]Migration, len(entries))
	for i, e := range entries {
		version, err := goose.NumericComponent(e.Name())
		if err != nil {
			return nil, err
		}
		all[i] = Migration{Version: version, Name: e.Name()}
		if at, ok := applied[version]; ok {
			all[i].AppliedAt = &at
		}
	}
	return all, nil
}

func appliedVersions(ctx context.Context, pool *sqlx.DB) (map[int64]time.Time, error) {
	var exists bool
	if err := pool.GetContext(ctx, &exists, `SELECT to_regclass($1) IS NOT NULL`, versionTable); err != nil || !exists {
		return nil, err
	}
	var rows []struct {
		Version int64     `db:"version_id"`
		At      time.Time `db:"tstamp"`
	}
	if err := pool.SelectContext(ctx, &rows, `SELECT version_id, tstamp FROM sonicus.goose_db_version WHERE is_applied`); err != nil {
		return nil, err
	}
	applied := make(map[int64]time.Time, len(rows))
	for _, r := range rows {
		applied[r.Version] = r.At
	}
	return applied, nil
}

// CheckSchema returns nil when the schema is ready for this binary, and otherwise
// [ErrPending] or why that cannot be told. A database that is newer than the
// binary is ready too: migrations only add to what older binaries use.
func CheckSchema(ctx context.Context, pool *sqlx.DB) error {
	all, err := Migrations(ctx, pool)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	var missing []string
	for _, m := range all {
		if m.AppliedAt == nil {
			missing = append(missing, m.Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s (start the api, or run: api migrate up)", ErrPending, strings.Join(missing, ", "))
	}
	return nil
}

// AwaitSchema returns when the schema is ready for this binary. Until then it
// logs what is missing: at once, when that changes, and every ten seconds.
func AwaitSchema(ctx context.Context, pool *sqlx.DB, log *slog.Logger) error {
	said, at := "", time.Time{}
	for {
		err := CheckSchema(ctx, pool)
		if err == nil {
			return nil
		}
		if err.Error() != said || time.Since(at) > 10*time.Second {
			log.WarnContext(ctx, "waiting for the schema", slog.String("missing", err.Error()))
			said, at = err.Error(), time.Now()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("schema not ready: %w: %w", err, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}
