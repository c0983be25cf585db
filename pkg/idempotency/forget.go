package idempotency

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

const (
	// kept is how long a key means something, from the begin of its transaction on:
	// a day after the answer, which came a minute later at the most.
	kept = 24*time.Hour + time.Minute

	forgetEvery = 15 * time.Minute
	forgetRetry = time.Minute
	forgetBatch = 1000
)

// forget takes the oldest; a second process that forgets takes others.
const forget = `
DELETE FROM sonicus.idempotency_keys WHERE (caller, key) IN (
    SELECT caller, key FROM sonicus.idempotency_keys
    WHERE created_at < now() - make_interval(secs => $1)
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`

// Forget removes the keys that are older than a day, a thousand in a transaction, and
// returns how many there were. Any process may call it at any time.
func Forget(ctx context.Context, db *sqlx.DB) (int, error) {
	for forgotten := 0; ; {
		n, err := forgetSome(ctx, db)
		forgotten += n
		if err != nil || n < forgetBatch {
			return forgotten, err
		}
	}
}

func forgetSome(ctx context.Context, db *sqlx.DB) (int, error) {
	var n int64
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		done, err := tx.ExecContext(ctx, forget, kept.Seconds(), forgetBatch)
		if err != nil {
			return err
		}
		n, err = done.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget idempotency keys: %w", err)
	}
	return int(n), nil
}

// KeepForgetting forgets every quarter of an hour until ctx ends.
func KeepForgetting(ctx context.Context, db *sqlx.DB, log *slog.Logger) {
	postgres.Regularly(ctx, log, "forget idempotency keys", forgetEvery, forgetRetry, func(ctx context.Context) (int, error) { return Forget(ctx, db) })
}
