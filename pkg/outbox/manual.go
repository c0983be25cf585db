package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// byHand is what an administrator does with a delivery, which nobody else can change
// meanwhile. It returns the lanes that have something due by that.
type byHand func(ctx context.Context, tx *sqlx.Tx, d hold) ([]Lane, error)

// hold is a delivery under lock.
type hold struct {
	Shown
	work
}

// work is its row in the queue.
type work struct {
	Queued         bool          `db:"queued"`
	Retry          bool          `db:"retry"`
	OrganizationID uuid.NullUUID `db:"organization_id"` // set in an ordered stream
	Waits          bool          `db:"waits"`           // for another one of its stream
	Due            bool          `db:"due"`
	InFlight       bool          `db:"in_flight"`
}

func (h hold) lane() Lane { return Lane{h.EndpointID, h.Retry} }

// write does something by hand in a transaction of its own, with its row in the audit
// trail if it changed the delivery, and returns the delivery as it is then.
func (s *Deliveries) write(ctx context.Context, id uuid.UUID, action string, do byHand) (Shown, error) {
	var due []Lane
	after, err := idempotency.InTx(ctx, s.db, func(tx *sqlx.Tx, now time.Time) (Shown, error) {
		before, err := holdDelivery(ctx, tx, id)
		if err != nil {
			return Shown{}, err
		}
		if due, err = do(ctx, tx, before); err != nil {
			return Shown{}, err
		}
		after, err := get(ctx, tx, id)
		if err != nil || after.kept() == before.kept() {
			return after, err
		}
		return after, access.Record(ctx, tx, now, access.Change{
			Action: "delivery." + action, ObjectType: "delivery", ObjectID: id, Before: before.kept(), After: after.kept(),
		})
	})
	if err != nil {
		return Shown{}, fmt.Errorf("%s delivery: %w", action, postgres.Explain(err, "It is not known whether the delivery was changed. Look at it before trying again."))
	}
	s.due(due)
	return after, nil
}

const holdQueue = `
SELECT true AS queued, q.retry, q.organization_id, q.due_at IS NULL AS waits, coalesce(q.due_at <= clock_timestamp(), false) AS due,
       coalesce(q.lease_until > clock_timestamp(), false) AS in_flight
FROM sonicus.queue q WHERE q.delivery_id = $1 FOR UPDATE`

// holdDelivery locks a delivery as those do who settle, so that nobody can deadlock:
// the turn of its stream first, then its row in the queue, and its own last.
func holdDelivery(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (h hold, err error) {
	var streams []uuid.UUID
	if err := tx.SelectContext(ctx, &streams, `SELECT q.organization_id FROM sonicus.queue q WHERE q.delivery_id = $1 AND q.organization_id IS NOT NULL`, id); err != nil {
		return hold{}, fmt.Errorf("look for stream: %w", err)
	}
	if len(streams) > 0 {
		if err := takeTurns(ctx, tx, streams...); err != nil {
			return hold{}, err
		}
	}
	if err := tx.GetContext(ctx, &h.work, holdQueue, id); err != nil && !errors.Is(err, postgres.ErrNotFound) {
		return hold{}, fmt.Errorf("lock work: %w", err)
	}
	low, high := span([]uuid.UUID{id})
	if _, err := tx.ExecContext(ctx, `SELECT FROM sonicus.deliveries d WHERE d.id = $1 AND d.id >= $2 AND d.id < $3 FOR NO KEY UPDATE`, id, low, high); err != nil {
		return hold{}, fmt.Errorf("lock: %w", err)
	}
	if h.Shown, err = get(ctx, tx, id); err != nil {
		return hold{}, err
	}
	if !h.Queued && h.Next != nil { // queued while its own row was waited for: a retry by somebody else
		return hold{}, problem.Conflict("in_flight", "", "The delivery has just been retried by another request.")
	}
	return h, nil
}

// kept is what the audit trail keeps of a delivery.
type kept struct {
	EndpointID    uuid.UUID `json:"endpoint_id"`
	Status        Status    `json:"status"`
	FailureReason string    `json:"failure_reason,omitempty"`
	AttemptCount  int       `json:"attempt_count"`
	MaxAttempts   int       `json:"max_attempts"`
	NextAttemptAt string    `json:"next_attempt_at,omitempty"`
}

func (s Shown) kept() kept {
	k := kept{EndpointID: s.EndpointID, Status: s.Status, AttemptCount: s.AttemptCount, MaxAttempts: s.MaxAttempts}
	if s.FailureReason != nil {
		k.FailureReason = *s.FailureReason
	}
	if s.NextAttemptAt != nil {
		k.NextAttemptAt = s.NextAttemptAt.Format(time.RFC3339Nano)
	}
	return k
}
