package endpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// DisabledManual is the disabled_reason of endpoints that an administrator has
// switched off.
const DisabledManual = "manual"

// Each of these leaves alone what is in the state already, whoever brought it there.
const (
	switchOn = `UPDATE sonicus.endpoints SET is_active = true, disabled_reason = NULL, disabled_at = NULL, updated_at = $2
	            WHERE id = $1 AND NOT is_active`
	switchOff = `UPDATE sonicus.endpoints SET is_active = false, disabled_reason = '` + DisabledManual + `', disabled_at = $2, updated_at = $2
	            WHERE id = $1 AND is_active`
	pause  = `UPDATE sonicus.endpoints SET paused_at = $2, updated_at = $2 WHERE id = $1 AND paused_at IS NULL`
	resume = `UPDATE sonicus.endpoints SET paused_at = NULL, updated_at = $2 WHERE id = $1 AND paused_at IS NOT NULL`
)

// Enable switches an endpoint on, with its circuit breaker closed and its failures
// forgotten. What is queued goes out at a pace that grows. One that is active is
// left as it is. Problems of this and its three siblings: NotFound, and Unavailable
// as for [Store.Create].
func (s *Store) Enable(ctx context.Context, id uuid.UUID) (Endpoint, error) {
	return s.turn(ctx, id, "enable", switchOn, outbox.Restart)
}

// Disable switches an endpoint off: it gets no new events, and what is queued waits.
func (s *Store) Disable(ctx context.Context, id uuid.UUID) (Endpoint, error) {
	return s.turn(ctx, id, "disable", switchOff, nil)
}

// Pause keeps everything, events that are published too, and sends nothing.
func (s *Store) Pause(ctx context.Context, id uuid.UUID) (Endpoint, error) {
	return s.turn(ctx, id, "pause", pause, nil)
}

// Resume ends a pause. What is queued goes out at a pace that grows.
func (s *Store) Resume(ctx context.Context, id uuid.UUID) (Endpoint, error) {
	return s.turn(ctx, id, "resume", resume, outbox.Resume)
}

// turn brings an endpoint into another state; then, if it was not in it already,
// begin prepares its lane.
func (s *Store) turn(ctx context.Context, id uuid.UUID, action, statement string, begin func(context.Context, *sqlx.Tx, uuid.UUID) error) (Endpoint, error) {
	return s.write(ctx, id, action, nil, func(tx *sqlx.Tx, now time.Time, _ Endpoint) error {
		done, err := tx.ExecContext(ctx, statement, id, now)
		if err != nil {
			return fmt.Errorf("set state: %w", err)
		}
		turned, err := done.RowsAffected()
		if err != nil || turned == 0 || begin == nil {
			return err
		}
		return begin(ctx, tx, id)
	})
}
