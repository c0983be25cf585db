package outbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// sinceNow begins a recovery, as after an open breaker, if there is a backlog to
// limit: a receiver that was left alone is not stampeded.
const sinceNow = `CASE WHEN EXISTS (SELECT FROM sonicus.queue q WHERE q.retry IN (false, true) AND q.endpoint_id = l.endpoint_id)
                       THEN statement_timestamp() END`

const restart = `
UPDATE sonicus.lanes l
SET breaker_state = 'closed', breaker_until = NULL, failures = 0, openings = 0, failing_since = NULL, recovering_since = ` + sinceNow + `
WHERE l.endpoint_id = $1`

// Restart is for an endpoint that is switched on, in the same transaction: it begins
// anew, with a closed breaker and no failures, so that the next one does not switch
// it off again.
func Restart(ctx context.Context, tx *sqlx.Tx, endpoint uuid.UUID) error {
	if _, err := tx.ExecContext(ctx, restart, endpoint); err != nil {
		return fmt.Errorf("restart lane: %w", err)
	}
	return nil
}

const resume = `
UPDATE sonicus.lanes l
SET failing_since = CASE WHEN l.failing_since IS NOT NULL THEN statement_timestamp() END, recovering_since = ` + sinceNow + `
WHERE l.endpoint_id = $1`

// Resume is for an endpoint whose pause ends, in the same transaction. What is known
// of it stays, but the time for which it has been failing counts from now: nobody
// knows how it would have done meanwhile.
func Resume(ctx context.Context, tx *sqlx.Tx, endpoint uuid.UUID) error {
	if _, err := tx.ExecContext(ctx, resume, endpoint); err != nil {
		return fmt.Errorf("resume lane: %w", err)
	}
	return nil
}
