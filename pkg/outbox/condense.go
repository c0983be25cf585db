package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// keptFor is how many days of statistics are kept: the longest window and one more.
const keptFor = 8

// condenseAtOnce bounds what one transaction sums up or deletes.
const condenseAtOnce = 1000

// condense turns five minutes into hours, once the next hour is over: the shortest
// window needs them until then. What is added to an hour later is summed up the
// next time. Rows that somebody else has locked are left to him, and hours are
// written in the order of their keys, so that nobody can deadlock.
const condense = `
WITH old AS (
    DELETE FROM sonicus.delivery_stats d
    USING (SELECT o.endpoint_id, o.starts_at, o.minutes, o.status, o.failure_reason
           FROM sonicus.delivery_stats o
           WHERE o.minutes = 5 AND o.starts_at < date_trunc('hour', now(), 'UTC') - interval '1 hour'
           ORDER BY o.starts_at
           LIMIT $1
           FOR UPDATE SKIP LOCKED) o
    WHERE (d.endpoint_id, d.starts_at, d.minutes, d.status, d.failure_reason) = (o.endpoint_id, o.starts_at, o.minutes, o.status, o.failure_reason)
    RETURNING d.*
), hours AS (
    INSERT INTO sonicus.delivery_stats AS s (endpoint_id, starts_at, minutes, status, failure_reason, deliveries, attempts, possible_duplicates, response_times)
    SELECT endpoint_id, date_trunc('hour', starts_at, 'UTC'), 60, status, failure_reason, sum(deliveries), sum(attempts), sum(possible_duplicates),
           sonicus.sum_counts(response_times)
    FROM old
    GROUP BY 1, 2, 4, 5
    ORDER BY 1, 2, 4, 5
    ` + onConflictAdd + `
)
SELECT count(*) FROM old`

const forgetOld = `
WITH old AS (
    DELETE FROM sonicus.delivery_stats d
    USING (SELECT o.endpoint_id, o.starts_at, o.minutes, o.status, o.failure_reason
           FROM sonicus.delivery_stats o
           WHERE o.minutes = 60 AND o.starts_at < now() - $2 * interval '1 day'
           ORDER BY o.starts_at
           LIMIT $1
           FOR UPDATE SKIP LOCKED) o
    WHERE (d.endpoint_id, d.starts_at, d.minutes, d.status, d.failure_reason) = (o.endpoint_id, o.starts_at, o.minutes, o.status, o.failure_reason)
    RETURNING 1
)
SELECT count(*) FROM old`

// Condense sums old statistics up and deletes those that are too old, a bounded number
// of rows in one short transaction. It returns how many it has dealt with: while that
// is not 0 there may be more. Any number of processes may call it at any time.
func Condense(ctx context.Context, db *sqlx.DB) (int, error) {
	var condensed, forgotten int
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		if err := tx.GetContext(ctx, &condensed, condense, condenseAtOnce); err != nil {
			return err
		}
		return tx.GetContext(ctx, &forgotten, forgetOld, condenseAtOnce, keptFor)
	})
	if err != nil {
		return 0, fmt.Errorf("condense statistics: %w", err)
	}
	return condensed + forgotten, nil
}
