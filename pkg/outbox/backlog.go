package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// backlogMost is how far deliveries are counted: a look at a million would cost as
// much as sending some thousands of them.
const backlogMost = 10_000

// Backlog is what the queue holds.
type Backlog struct {
	Deliveries int           // that are neither sent nor given up
	More       bool          // there are more than that: they are not counted further
	OldestDue  time.Duration // for how long the one has been due that has waited longest; 0: none is due
}

// backlogRow is a Backlog as a query returns it.
type backlogRow struct {
	EndpointID uuid.UUID `db:"endpoint_id"`
	Deliveries int       `db:"deliveries"`
	OldestDue  float64   `db:"oldest_due"`
}

func (r backlogRow) backlog() Backlog {
	return Backlog{Deliveries: min(r.Deliveries, backlogMost), More: r.Deliveries > backlogMost, OldestDue: seconds(r.OldestDue)}
}

// backlogs looks into the two lanes of each endpoint, up to a number, and at the first
// of each that is due and under no lease.
const backlogs = `
SELECT e.id AS endpoint_id, held.deliveries, coalesce(extract(epoch FROM statement_timestamp() - due.since), 0)::double precision AS oldest_due
FROM unnest($1::uuid[]) AS e (id)
CROSS JOIN LATERAL (
    SELECT count(*) AS deliveries
    FROM (VALUES (false), (true)) AS r (retry)
    CROSS JOIN LATERAL (SELECT FROM sonicus.queue q WHERE q.retry = r.retry AND q.endpoint_id = e.id LIMIT $2) q
) held
CROSS JOIN LATERAL (
    SELECT min(first.due_at) AS since
    FROM (VALUES (false), (true)) AS r (retry)
    CROSS JOIN LATERAL (
        SELECT q.due_at
        FROM sonicus.queue q
        WHERE q.retry = r.retry AND q.endpoint_id = e.id AND q.due_at <= statement_timestamp()
          AND (q.lease_until IS NULL OR q.lease_until <= statement_timestamp())
        ORDER BY q.due_at
        LIMIT 1
    ) first
) due`

func backlogsOf(ctx context.Context, tx *sqlx.Tx, endpoints []uuid.UUID) (map[uuid.UUID]Backlog, error) {
	var rows []backlogRow
	if err := tx.SelectContext(ctx, &rows, backlogs, pq.Array(endpoints), backlogMost+1); err != nil {
		return nil, fmt.Errorf("read backlogs: %w", err)
	}
	all := make(map[uuid.UUID]Backlog, len(rows))
	for _, r := range rows {
		all[r.EndpointID] = r.backlog()
	}
	return all, nil
}

// whole goes from lane to lane for what is due, as a sweep does, and so leaves out what waits
// on purpose: for endpoints that are inactive or paused, or whose breaker is open.
const whole = `
SELECT (SELECT count(*) FROM (SELECT FROM sonicus.queue LIMIT $2) q) AS deliveries,
       (SELECT coalesce(extract(epoch FROM statement_timestamp() - min(s.since)), 0)::double precision FROM (` + sweep + `) s) AS oldest_due`

func wholeBacklog(ctx context.Context, tx *sqlx.Tx) (Backlog, error) {
	var r backlogRow
	if err := tx.GetContext(ctx, &r, whole, 0, backlogMost+1); err != nil {
		return Backlog{}, fmt.Errorf("read backlog: %w", err)
	}
	return r.backlog(), nil
}
