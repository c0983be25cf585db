package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

const (
	// partitionsEvery is how often tomorrow's partitions are looked after. They
	// are made a week ahead, so that any process may be away for days.
	partitionsEvery = time.Hour
	partitionsRetry = time.Minute
)

// EnsurePartitions makes the daily partitions of the coming week that do not
// exist yet and returns how many it made. Any process may call it at any time.
func EnsurePartitions(ctx context.Context, db *sqlx.DB) (int, error) {
	var made int
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		return tx.GetContext(ctx, &made, `SELECT sonicus.ensure_partitions()`)
	})
	if err != nil {
		return 0, fmt.Errorf("ensure partitions: %w", err)
	}
	return made, nil
}

// KeepPartitions ensures the partitions every hour until ctx ends.
func KeepPartitions(ctx context.Context, db *sqlx.DB, log *slog.Logger) {
	postgres.Regularly(ctx, log, "make partitions", partitionsEvery, partitionsRetry,
		func(ctx context.Context) (int, error) { return EnsurePartitions(ctx, db) })
}
