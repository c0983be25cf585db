package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// release leaves a lease that has ended where the receiver may have been sent the
// delivery before: the next claim then takes over, too, and the mark is not lost.
const release = `
WITH mine AS (
    SELECT q.delivery_id, r.took_over
    FROM sonicus.queue q
    JOIN unnest($1::uuid[], $2::bigint[], $4::boolean[]) AS r(delivery_id, token, took_over) ON r.delivery_id = q.delivery_id AND r.token = q.lease_token
    ORDER BY q.delivery_id
    FOR UPDATE OF q
)
UPDATE sonicus.queue q
SET due_at = CASE WHEN $3 > 0 THEN clock_timestamp() + $3 * interval '1 millisecond' ELSE q.due_at END,
    lease_token = CASE WHEN mine.took_over THEN q.lease_token END, lease_until = CASE WHEN mine.took_over THEN clock_timestamp() END
FROM mine
WHERE q.delivery_id = mine.delivery_id`

// Release gives leases back without an attempt, due again after wait; 0 leaves
// them in their place.
func Release(ctx context.Context, db *sqlx.DB, claimed []Claimed, wait time.Duration) error {
	ids, tokens, tookOver := make([]uuid.UUID, len(claimed)), make(pq.Int64Array, len(claimed)), make(pq.BoolArray, len(claimed))
	for i, c := range claimed {
		ids[i], tokens[i], tookOver[i] = c.DeliveryID, c.Token, c.TookOver
	}
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, release, pq.Array(ids), tokens, wait.Milliseconds(), tookOver)
		return err
	})
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}
