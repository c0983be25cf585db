package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Given is a delivery that was given up.
type Given struct {
	ID             uuid.UUID `db:"id"`
	EndpointID     uuid.UUID `db:"endpoint_id"`
	EventID        uuid.UUID `db:"event_id"`
	EventType      string    `db:"event_type"`
	CreatedAt      time.Time `db:"created_at"`
	AttemptCount   int       `db:"attempt_count"`
	FailureReason  string    `db:"failure_reason"`
	HTTPStatusCode *int      `db:"http_status_code"`
	ErrorMessage   *string   `db:"error_message"`
}

// ended knows by its row's version what this transaction has changed: a result that
// came late, or was recorded before an answer to COMMIT was lost, is not among it.
const ended = `
SELECT d.id, d.endpoint_id, d.event_id, d.event_type, d.created_at, d.attempt_count, d.failure_reason, d.http_status_code, d.error_message
FROM sonicus.deliveries d
WHERE d.id = ANY ($1::uuid[]) AND d.id >= $2 AND d.id < $3 AND d.status = 'failed' AND d.xmin = pg_current_xact_id()::xid
ORDER BY d.id`

// Ended returns those of the deliveries, at least one, that this transaction has ended
// as failed (see [Settle]).
func Ended(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) ([]Given, error) {
	low, high := span(ids)
	var all []Given
	if err := tx.SelectContext(ctx, &all, ended, pq.Array(ids), low, high); err != nil {
		return nil, fmt.Errorf("read what ended: %w", err)
	}
	return all, nil
}

// Wanted says whether any active endpoint is subscribed to an event type. It saves
// publishing to nobody, and costs a look at the endpoints.
func Wanted(ctx context.Context, tx *sqlx.Tx, eventType string) (bool, error) {
	var wanted bool
	err := tx.GetContext(ctx, &wanted, `
		SELECT EXISTS (SELECT FROM sonicus.endpoints e WHERE e.is_active AND e.deleted_at IS NULL AND e.events @> ANY ($1::jsonb[]))`, patterns(eventType))
	if err != nil {
		return false, fmt.Errorf("look who wants %s: %w", eventType, err)
	}
	return wanted, nil
}
