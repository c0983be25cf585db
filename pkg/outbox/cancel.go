package outbox

import (
	"context"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/problem"
)

// Canceled is the failure reason of deliveries that an administrator has given up.
const Canceled = "canceled"

// Cancel gives up a delivery that waits; the next one of its stream may go then. An
// attempt whose lease had ended before, and which is still under way somewhere, is
// recorded as late when its result comes. Problems: NotFound; Conflict for one that is
// over (already_sent, already_failed) or in flight (in_flight); Unavailable as for
// [Deliveries.Retry].
func (s *Deliveries) Cancel(ctx context.Context, id uuid.UUID) (Shown, error) {
	return s.write(ctx, id, "cancel", cancel)
}

func cancel(ctx context.Context, tx *sqlx.Tx, d hold) ([]Lane, error) {
	switch {
	case d.Status == Sent:
		return nil, problem.Conflict("already_sent", "", "The receiver has taken this delivery.")
	case d.Status == Failed:
		return nil, problem.Conflict("already_failed", "", "This delivery has been given up already.")
	case d.InFlight:
		return nil, problem.Conflict("in_flight", "", "An attempt is being made right now, which nothing can call back. Try again when it has ended.")
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM sonicus.queue WHERE delivery_id = $1`, d.ID); err != nil {
		return nil, wrap("take out of the queue", err)
	}
	over := Result{Claimed: Claimed{Lane: d.lane(), OrganizationID: d.OrganizationID}, Status: Failed}
	promoted, err := Promote(ctx, tx, []Result{over})
	if err != nil {
		return nil, err
	}
	var lanes []Lane
	for _, w := range promoted {
		lanes = append(lanes, w.Lane)
	}
	return lanes, giveUp(ctx, tx, d.EndpointID, []uuid.UUID{d.ID}, Canceled)
}
