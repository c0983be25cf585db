package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestTransactionsOutliveTheConnectionsOfThePool(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	insert := func(tx *postgres.Tx, _ time.Time) error {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO sonicus.api_keys (id, name, role, key_hash, key_last4, created_at)
			VALUES (gen_random_uuid(), 'n', 'admin', sonicus_test_bytes(), 'last', now())`)
		return err
	}
	if _, err := db.Exec(`CREATE FUNCTION sonicus_test_bytes() RETURNS bytea LANGUAGE sql AS 'SELECT sha256(gen_random_uuid()::text::bytea)'`); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		// Fill the pool, then kill all of it from outside, as a restart would.
		var conns []*postgres.Tx
		for range 5 {
			tx, err := db.Beginx()
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, tx)
		}
		for _, tx := range conns {
			_ = tx.Rollback()
		}
		killer := pgtest.Open(t, pgtest.NewURL(t))
		if _, err := killer.Exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1`, name(t, db)); err != nil {
			t.Fatal(err)
		}
		if err := postgres.InTx(t.Context(), db, insert); err != nil {
			t.Errorf("after the loss of every connection: %v", err)
		}
	}
	var n int
	if err := db.Get(&n, `SELECT count(*) FROM sonicus.api_keys`); err != nil || n != 3 {
		t.Errorf("%d rows, %v; want the 3 inserted", n, err)
	}
}

// name asks before the connections are killed, on its own connection.
func name(t *testing.T, db *postgres.DB) (database string) {
	t.Helper()
	if err := db.Get(&database, `SELECT current_database()`); err != nil {
		t.Fatal(err)
	}
	return database
}

func TestTransactionOfACanceledCallerIsRolledBack(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := postgres.InTx(ctx, db, func(tx *postgres.Tx, _ time.Time) error {
		_, err := tx.Exec(`INSERT INTO sonicus.audit_log (id, at, actor, action, object_type, object_id) VALUES (gen_random_uuid(), now(), 'a', 'b', 'c', 'd')`)
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	var n int
	if err := db.Get(&n, `SELECT count(*) FROM sonicus.audit_log`); err != nil || n != 0 {
		t.Errorf("%d rows, %v; want none", n, err)
	}
}

func TestTimeOfATransactionIsTheDatabases(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	err := postgres.InTx(t.Context(), db, func(tx *postgres.Tx, now time.Time) error {
		var same bool
		if err := tx.Get(&same, `SELECT now() = $1`, now); err != nil {
			return err
		}
		if !same || now.Location() != time.UTC {
			t.Errorf("%s is not the transaction's time in UTC", now)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
