package outbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/problem"
)

// revive lets a delivery that was given up go on: the attempts go on counting, and
// there is one more of them at least. One of which none was made is pending.
const revive = `
WITH revived AS (
    UPDATE sonicus.deliveries d
    SET status = CASE WHEN d.attempt_count = 0 THEN 'pending' ELSE 'retrying' END, failure_reason = NULL, max_attempts = greatest(d.max_attempts, d.attempt_count + 1)
    WHERE d.id = $1 AND d.id >= $2 AND d.id < $3
    RETURNING d.id, d.endpoint_id, d.attempt_count > 0 AS retry
)
INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at, retry)
SELECT r.id, r.endpoint_id, clock_timestamp(), r.retry FROM revived r`

// Retry makes a delivery due now. One that has failed is tried again, in no order
// with others; one that waits, before its time. One that is due already is left as it
// is. Problems: NotFound; Conflict for one that is sent (already_sent), in flight
// (in_flight), behind another one of its stream (waits_for_turn), replayed since
// (replayed), or to an endpoint that is deleted (endpoint_deleted); Unavailable, with commit_unknown when it cannot be
// told whether it was changed.
func (s *Deliveries) Retry(ctx context.Context, id uuid.UUID) (Shown, error) {
	return s.write(ctx, id, "retry", retry)
}

func retry(ctx context.Context, tx *sqlx.Tx, d hold) ([]Lane, error) {
	switch {
	case d.Status == Sent:
		return nil, problem.Conflict("already_sent", "", "The receiver has taken this delivery. A replay sends the event again, as a delivery of its own.")
	case d.endpointDeleted:
		return nil, problem.Conflict("endpoint_deleted", "", "The endpoint of this delivery is deleted.")
	case d.InFlight:
		return nil, problem.Conflict("in_flight", "", "An attempt is being made right now. Look at the delivery again in a while.")
	case d.Waits:
		return nil, problem.Conflict("waits_for_turn", "", "The endpoint gets the deliveries of an organization one after another, and another one goes first: retry or cancel that.")
	case d.Due:
		return []Lane{d.lane()}, nil
	case d.Queued:
		_, err := tx.ExecContext(ctx, `UPDATE sonicus.queue SET due_at = clock_timestamp() WHERE delivery_id = $1`, d.ID)
		return []Lane{d.lane()}, wrap("hasten", err)
	default:
		if replayed, err := succeeded(ctx, tx, d.Delivery); err != nil {
			return nil, err
		} else if replayed {
			return nil, problem.Conflict("replayed", "", "A replay has made a newer delivery of this event to the endpoint: look at that one.")
		}
		low, high := span([]uuid.UUID{d.ID})
		_, err := tx.ExecContext(ctx, revive, d.ID, low, high)
		return []Lane{{d.EndpointID, d.AttemptCount > 0}}, wrap("revive", err)
	}
}

// succeeded says whether there is a delivery of the next generation. Replays lock what
// they make it of, as those do who act by hand.
func succeeded(ctx context.Context, tx *sqlx.Tx, d Delivery) (there bool, err error) {
	err = tx.GetContext(ctx, &there, `SELECT EXISTS (SELECT FROM sonicus.deliveries n WHERE n.id = sonicus.delivery_id($1, $2, $3))`, d.EventID, d.EndpointID, d.Generation+1)
	return there, wrap("look for a newer delivery", err)
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
