package db_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestViewsHaveTheDocumentedColumns(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for view, documented := range map[string][]string{
		"webhook_endpoints": {
			"id", "url", "secret_key", "events", "is_active", "organization_id", "timeout_seconds", "max_retries", "name", "description",
			"created_at", "updated_at", "last_success_at", "last_failure_at",
		},
		"webhook_deliveries": {
			"id", "endpoint_id", "event_type", "event_id", "payload", "status", "http_status_code", "response_body", "response_headers",
			"error_message", "attempt_count", "max_attempts", "created_at", "last_attempt_at", "delivered_at",
		},
	} {
		var got []string
		if err := db.Select(&got, `SELECT column_name FROM information_schema.columns
			WHERE table_schema = 'sonicus' AND table_name = $1 ORDER BY ordinal_position`, view); err != nil {
			t.Fatal(err)
		}
		if len(got) < len(documented) {
			t.Fatalf("%s has only %v", view, got)
		}
		if d := cmp.Diff(documented, got[:len(documented)]); d != "" {
			t.Errorf("%s: %s", view, d)
		}
	}
}

func TestEverythingIsCommented(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var bare []string
	if err := db.Select(&bare, `
		SELECT c.relname || coalesce('.' || a.attname, '')
		FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'sonicus'
		LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relkind IN ('r', 'p', 'v') AND c.relname <> 'goose_db_version'
		  AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
		UNION ALL
		SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'sonicus'
		WHERE obj_description(p.oid, 'pg_proc') IS NULL
		UNION ALL
		SELECT n.nspname FROM pg_namespace n WHERE n.nspname = 'sonicus' AND obj_description(n.oid, 'pg_namespace') IS NULL`); err != nil {
		t.Fatal(err)
	}
	if len(bare) > 0 {
		t.Errorf("without a comment: %v", bare)
	}
}

// Partitions that exist have comments of their own, which a migration must change too.
// Migration 00006, which is released, forgot that for one column of events.
func TestPartitionsAreCommentedAsTheirTables(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var other []string
	if err := db.Select(&other, `
		SELECT i.inhrelid::regclass || '.' || a.attname
		FROM pg_inherits i
		JOIN pg_class c ON c.oid = i.inhparent AND c.relkind = 'p'
		JOIN pg_attribute a ON a.attrelid = i.inhparent AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_attribute own ON own.attrelid = i.inhrelid AND own.attname = a.attname
		WHERE col_description(i.inhrelid, own.attnum) IS DISTINCT FROM col_description(i.inhparent, a.attnum)
		  AND NOT (c.relname = 'events' AND a.attname = 'organization_id')
		ORDER BY 1`); err != nil {
		t.Fatal(err)
	}
	if len(other) > 0 {
		t.Errorf("commented otherwise than their tables: %v", other)
	}
}

// max_attempts is not fixed when a delivery is written: a retry by hand may raise it.
func TestCommentsTellWhatRaisesMaxAttempts(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, relation := range []string{"sonicus.deliveries", "sonicus.webhook_deliveries"} {
		var comment string
		if err := db.Get(&comment, `SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = $1::regclass AND attname = 'max_attempts'`, relation); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(comment, "when it was written") || !strings.Contains(comment, "retry by hand raises it") {
			t.Errorf("%s: %s", relation, comment)
		}
	}
}

func TestMigrationsGoDownAndUpAgain(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	steps := 0
	for {
		undone, err := postgres.MigrateDown(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if undone == "" {
			break
		}
		steps++
	}
	pool, err := postgres.Connect(t.Context(), url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	if left := relations(t, pool); !slices.Equal(left, []string{"goose_db_version"}) {
		t.Errorf("left behind: %v", left)
	}
	if all, err := postgres.Migrations(t.Context(), pool); err != nil || len(all) != steps {
		t.Errorf("%d steps down, %d migrations known, %v", steps, len(all), err)
	}
	if err := postgres.CheckSchema(t.Context(), pool); !errors.Is(err, postgres.ErrPending) {
		t.Errorf("after going down: %v", err)
	}
	if err := postgres.Migrate(t.Context(), url, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := postgres.CheckSchema(t.Context(), pool); err != nil {
		t.Errorf("after going up: %v", err)
	}
	if all := relations(t, pool); len(all) < 10 {
		t.Errorf("only %v after going up", all)
	}
}

// An organization that is deleted stays so, though the schema before cannot say it.
func TestDeletedOrganizationsStayDeletedOverADowngrade(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	db := pgtest.Open(t, url)
	if _, err := db.ExecContext(t.Context(), `INSERT INTO sonicus.organizations
			(id, name, display_name, domain, primary_contact_email, subscription_tier, subscription_status, max_users, created_at, updated_at, deleted_at)
		SELECT id, '', '', id::text, '', 'starter', 'active', 1, now(), now(), now() FROM gen_random_uuid() AS id
		UNION ALL SELECT gen_random_uuid(), 'A', 'A', 'example.com', 'a@example.com', 'starter', 'active', 1, now(), now(), NULL`); err != nil {
		t.Fatal(err)
	}
	for undone := ""; undone != "00017_organization_changes.sql"; {
		var err error
		if undone, err = postgres.MigrateDown(t.Context(), url); err != nil || undone == "" {
			t.Fatal(undone, err)
		}
	}
	if err := postgres.Migrate(t.Context(), url, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := db.SelectContext(t.Context(), &left, `SELECT name FROM sonicus.organizations WHERE deleted_at IS NULL`); err != nil || !slices.Equal(left, []string{"A"}) {
		t.Errorf("there are %q, %v", left, err)
	}
}

// Dispatchers of the release before go on working while the schema is brought up to
// date, until they are replaced; one that meets a function which takes or returns
// something else claims nothing, or records nothing.
func TestMigrationsKeepTheFunctionsOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	for undone := ""; undone != "00010_filters.sql"; {
		var err error
		if undone, err = postgres.MigrateDown(t.Context(), url); err != nil || undone == "" {
			t.Fatal(undone, err)
		}
	}
	db := pgtest.Open(t, url)
	before := functions(t, db)
	if err := postgres.Migrate(t.Context(), url, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	after := functions(t, db)
	for _, f := range before {
		if !slices.Contains(after, f) {
			t.Errorf("not there any more: %s", f)
		}
	}
	if len(before) < 6 || len(after) <= len(before) {
		t.Errorf("%d functions before, %d after", len(before), len(after))
	}
}

// functions are what the functions of the schema take and return.
func functions(t *testing.T, db *sqlx.DB) (all []string) {
	t.Helper()
	if err := db.Select(&all, `SELECT format('%s(%s) %s', p.proname, pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid))
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'sonicus' AND p.prokind = 'f'`); err != nil {
		t.Fatal(err)
	}
	return all
}

// relations names the tables and views of the schema, without partitions.
func relations(t *testing.T, db interface {
	Select(dest any, query string, args ...any) error
},
) []string {
	t.Helper()
	var names []string
	if err := db.Select(&names, `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'sonicus' AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition ORDER BY 1`); err != nil {
		t.Fatal(err)
	}
	return names
}
