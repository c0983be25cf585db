package endpoint

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Outcome is how one attempt at an endpoint ended.
type Outcome struct {
	EndpointID uuid.UUID
	Success    bool // a 2xx answer
	Gone       bool // a 410 answer: switch the endpoint off
}

// record locks the rows in the order of their ids, so that dispatchers cannot
// deadlock, and only those with something to say: a health time that is older
// than a second, or a switch to turn. The condition is looked at again after the
// wait for a lock, so of two dispatchers one writes. is_active is in an index's
// predicate, but as long as its value stays the update is HOT.
const record = `
WITH outcome AS (
    SELECT * FROM unnest($1::uuid[], $2::boolean[], $3::boolean[], $4::boolean[]) AS o (id, success, failure, gone)
), locked AS (
    SELECT o.*
    FROM sonicus.endpoints e JOIN outcome o USING (id)
    WHERE (o.success AND (e.last_success_at IS NULL OR e.last_success_at <= now() - interval '1 second'))
       OR (o.failure AND (e.last_failure_at IS NULL OR e.last_failure_at <= now() - interval '1 second'))
       OR (o.gone AND e.is_active)
    ORDER BY e.id
    FOR NO KEY UPDATE OF e
)
UPDATE sonicus.endpoints e
SET last_success_at = CASE WHEN l.success THEN greatest(e.last_success_at, now()) ELSE e.last_success_at END,
    last_failure_at = CASE WHEN l.failure THEN greatest(e.last_failure_at, now()) ELSE e.last_failure_at END,
    disabled_reason = CASE WHEN l.gone AND e.is_active THEN 'gone' ELSE e.disabled_reason END,
    disabled_at = CASE WHEN l.gone AND e.is_active THEN now() ELSE e.disabled_at END,
    is_active = e.is_active AND NOT l.gone
FROM locked l
WHERE e.id = l.id`

// Record notes how endpoints did, in the transaction that settles the attempts:
// last_success_at and last_failure_at, written at most about once a second, and
// the switching off of endpoints that are gone. It writes nothing, and locks
// nothing, when that is known already.
func Record(ctx context.Context, tx *sqlx.Tx, outcomes []Outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	var ids pq.StringArray
	var success, failure, gone pq.BoolArray
	at := make(map[uuid.UUID]int, len(outcomes))
	for _, o := range outcomes {
		i, seen := at[o.EndpointID]
		if !seen {
			i = len(ids)
			at[o.EndpointID] = i
			ids, success, failure, gone = append(ids, o.EndpointID.String()), append(success, false), append(failure, false), append(gone, false)
		}
		success[i] = success[i] || o.Success
		failure[i] = failure[i] || !o.Success
		gone[i] = gone[i] || o.Gone
	}
	if _, err := tx.ExecContext(ctx, record, ids, success, failure, gone); err != nil {
		return fmt.Errorf("record health of %d endpoints: %w", len(ids), err)
	}
	return nil
}
