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

const release = `
WITH mine AS (
    SELECT q.delivery_id
    FROM sonicus.queue q
    JOIN unnest($1::uuid[], $2::bigint[]) AS r(delivery_id, token) ON r.delivery_id = q.delivery_id AND r.token = q.lease_token
    ORDER BY q.delivery_id
    FOR UPDATE OF q
)
UPDATE sonicus.queue q
SET due_at = CASE WHEN $3 > 0 THEN clock_timestamp() + $3 * interval '1 millisecond' ELSE q.due_at END, lease_token = NULL, lease_until = NULL
FROM mine
WHERE q.delivery_id = mine.delivery_id`

// Release gives leases back without an attempt, due again after wait; 0 leaves
// them in their place.
func Release(ctx context.Context, db *sqlx.DB, claimed []Claimed, wait time.Duration) error {
	ids, tokens := make([]uuid.UUID, len(claimed)), make(pq.Int64Array, len(claimed))
	for i, c := range claimed {
		ids[i], tokens[i] = c.DeliveryID, c.Token
	}
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, release, pq.Array(ids), tokens, wait.Milliseconds())
		return err
	})
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}
