package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// Work is a lane that has something to claim.
type Work struct {
	Lane
	Since time.Time     `db:"since"` // due time of the first of it, by the database's clock
	In    time.Duration `db:"-"`     // when it may be claimed, 0: now
}

// workRow is Work as a query returns it.
type workRow struct {
	Lane
	Since time.Time `db:"since"`
	In    float64   `db:"due_in"`
}

// arrivals reads the primary key of the queue from a time on: a delivery's id
// holds the time of its event.
const arrivals = `
SELECT q.endpoint_id, false AS retry, min(q.due_at) AS since, 0 AS due_in
FROM sonicus.queue q
WHERE q.delivery_id >= sonicus.id_floor(statement_timestamp() - $1 * interval '1 second')
  AND NOT q.retry AND q.due_at IS NOT NULL AND q.lease_until IS NULL
GROUP BY q.endpoint_id`

// Arrivals finds the lanes of first attempts that were published within the last
// while. It reads no more rows than that.
func Arrivals(ctx context.Context, db *sqlx.DB, within time.Duration) ([]Work, error) {
	return find(ctx, db, "arrivals", arrivals, within.Seconds())
}

// walk goes from lane to lane by one index probe each; since is what is due first.
const walk = `
WITH RECURSIVE lane (retry, endpoint_id, since) AS (
    (SELECT q.retry, q.endpoint_id, q.due_at FROM sonicus.queue q ORDER BY q.retry, q.endpoint_id, q.due_at LIMIT 1)
    UNION ALL
    SELECT next.*
    FROM lane
    CROSS JOIN LATERAL (
        SELECT q.retry, q.endpoint_id, q.due_at
        FROM sonicus.queue q
        WHERE (q.retry, q.endpoint_id) > (lane.retry, lane.endpoint_id)
        ORDER BY q.retry, q.endpoint_id, q.due_at
        LIMIT 1
    ) next
)`

// sweep returns the lanes that can be claimed from within the next $1 seconds.
const sweep = walk + `
SELECT lane.endpoint_id, lane.retry, first.due_at AS since,
       extract(epoch FROM greatest(first.due_at, l.breaker_until, statement_timestamp()) - statement_timestamp()) AS due_in
FROM lane
JOIN sonicus.endpoints e ON e.id = lane.endpoint_id
JOIN sonicus.lanes l ON l.endpoint_id = lane.endpoint_id
CROSS JOIN LATERAL (
    SELECT q.due_at
    FROM sonicus.queue q
    WHERE q.retry = lane.retry AND q.endpoint_id = lane.endpoint_id
      AND q.due_at >= lane.since AND q.due_at <= statement_timestamp() + $1 * interval '1 second'
      AND (q.lease_until IS NULL OR q.lease_until <= statement_timestamp())
    ORDER BY q.due_at
    LIMIT 1
) first
WHERE e.is_active AND e.paused_at IS NULL AND e.deleted_at IS NULL
  AND (l.breaker_until IS NULL OR l.breaker_until <= statement_timestamp() + $1 * interval '1 second')`

// Sweep finds every lane from which something can be claimed now or within the
// next while: also what a dispatcher that died had claimed, what others have put
// off, and what was committed long after it had been written. It costs some
// microseconds per lane with work, and more while a long transaction keeps dead
// rows alive.
func Sweep(ctx context.Context, db *sqlx.DB, within time.Duration) ([]Work, error) {
	return find(ctx, db, "sweep", sweep, within.Seconds())
}

func find(ctx context.Context, db *sqlx.DB, what, query string, within float64) ([]Work, error) {
	var rows []workRow
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		return tx.SelectContext(ctx, &rows, query, within)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	work := make([]Work, len(rows))
	for i, r := range rows {
		work[i] = Work{Lane: r.Lane, Since: r.Since, In: seconds(r.In)}
	}
	return work, nil
}
