package outbox

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

const giveUpAll = `
WITH over AS (
    UPDATE sonicus.deliveries SET status = 'failed', failure_reason = $4
    WHERE id = ANY ($1::uuid[]) AND id >= $2 AND id < $3
    RETURNING event_id
)
SELECT count(*) AS ordinary, now() AS at FROM over JOIN sonicus.events v ON v.id = over.event_id AND v.id >= $2 AND v.id < $3 WHERE NOT v.test`

// giveUp ends deliveries to one endpoint without another attempt, and counts those
// that are no tests. The statistics are locked from then on, which everyone does last.
func giveUp(ctx context.Context, tx *sqlx.Tx, endpoint uuid.UUID, ids []uuid.UUID, reason string) error {
	low, high := span(ids)
	var over struct {
		Ordinary int       `db:"ordinary"`
		At       time.Time `db:"at"`
	}
	if err := tx.GetContext(ctx, &over, giveUpAll, pq.Array(ids), low, high, reason); err != nil {
		return wrap("give up", err)
	}
	if over.Ordinary == 0 {
		return nil
	}
	counted := Tally{}
	counted.ended(over.At, endpoint, reason, over.Ordinary)
	return counted.write(ctx, tx, counted.keys())
}
