package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// Deliveries are what people see of the deliveries, and what they do with them.
type Deliveries struct {
	db  *sqlx.DB
	due func([]Lane)
}

// NewDeliveries makes the deliveries in db accessible. due is called with the lanes
// that have something due by what was done, to wake the dispatchers; it must return at
// once and may be nil.
func NewDeliveries(db *sqlx.DB, due func([]Lane)) *Deliveries {
	if due == nil {
		due = func([]Lane) {}
	}
	return &Deliveries{db, due}
}

// Delivery is one delivery as a list shows it. Times are UTC.
type Delivery struct {
	ID             uuid.UUID  `db:"id"`
	EndpointID     uuid.UUID  `db:"endpoint_id"`
	EventType      string     `db:"event_type"`
	EventID        uuid.UUID  `db:"event_id"`
	OrganizationID *uuid.UUID `db:"organization_id"` // that the event is about; nil: an event of the service itself
	Status         Status     `db:"status"`
	FailureReason  *string    `db:"failure_reason"`
	HTTPStatus     *int       `db:"http_status_code"` // of the last answer
	Error          *string    `db:"error_message"`
	AttemptCount   int        `db:"attempt_count"`
	MaxAttempts    int        `db:"max_attempts"`
	Generation     int        `db:"generation"`
	Test           bool       `db:"test"`      // sent to try the receiver out
	ReplayID       *uuid.UUID `db:"replay_id"` // that made it; nil: publishing did
	CreatedAt      time.Time  `db:"created_at"`
	LastAttemptAt  *time.Time `db:"last_attempt_at"`
	DeliveredAt    *time.Time `db:"delivered_at"`
	NextAttemptAt  *time.Time `db:"next_attempt_at"` // when it is due, or the end of its lease
}

// Shown is a delivery with all there is to see of it, but for its attempts.
type Shown struct {
	Delivery
	Payload         json.RawMessage `db:"payload"`          // exactly what is sent
	ResponseBody    *string         `db:"response_body"`    // of the last attempt
	ResponseHeaders json.RawMessage `db:"response_headers"` // of the last attempt, an object or null
	Next            *Next           `db:"-"`                // nil: there is nothing left to do
	Log             Log             `db:"-"`                // its attempts

	endpointDeleted bool
}

// deliveryColumns reads what Delivery holds of d. The subqueries cost something only
// for rows that are shown.
const deliveryColumns = `d.id, d.endpoint_id, d.event_type, d.event_id, d.status, d.failure_reason, d.http_status_code, d.error_message,
	d.attempt_count, d.max_attempts, d.generation, d.replay_id, d.created_at, d.last_attempt_at, d.delivered_at,
	(SELECT v.organization_id FROM sonicus.events v WHERE v.id = d.event_id) AS organization_id,
	coalesce((SELECT v.test FROM sonicus.events v WHERE v.id = d.event_id), false) AS test,
	(SELECT greatest(q.due_at, q.lease_until) FROM sonicus.queue q WHERE q.delivery_id = d.id) AS next_attempt_at`

// shown lies between two bounds of ids, as everything of one delivery does; see span.
const shown = `
SELECT ` + deliveryColumns + `, v.payload, a.response_body, coalesce(a.response_headers, 'null') AS response_headers, statement_timestamp() AS now,
       q.delivery_id IS NOT NULL AS queued, q.due_at, q.lease_until,
       coalesce(e.is_active, false) AS is_active, e.paused_at, e.deleted_at, e.rate_limit, e.retry_schedule IS NOT NULL AS own_schedule, l.breaker_until, l.paced_until,
       a.started_at + a.duration_ms * interval '1 millisecond' AS ended_at, a.webhook_timestamp IS NOT NULL AS traced, a.retry_in, a.retry_after
FROM sonicus.deliveries d
JOIN sonicus.events v ON v.id = d.event_id AND v.id >= $2 AND v.id < $3
LEFT JOIN sonicus.attempts a ON a.delivery_id = d.id AND a.number = d.attempt_count AND a.delivery_id >= $2 AND a.delivery_id < $3
LEFT JOIN sonicus.queue q ON q.delivery_id = d.id
LEFT JOIN sonicus.endpoints e ON e.id = d.endpoint_id
LEFT JOIN sonicus.lanes l ON l.endpoint_id = d.endpoint_id
WHERE d.id = $1 AND d.id >= $2 AND d.id < $3`

type shownRow struct {
	Shown
	waiting
}

// Get returns one delivery; one that does not exist is a problem of kind NotFound.
func (s *Deliveries) Get(ctx context.Context, id uuid.UUID) (Shown, error) {
	found, err := get(ctx, s.db, id)
	if err != nil {
		return Shown{}, fmt.Errorf("get delivery: %w", postgres.Explain(err, ""))
	}
	return found, nil
}

func get(ctx context.Context, from sqlx.QueryerContext, id uuid.UUID) (Shown, error) {
	low, high := span([]uuid.UUID{id})
	var r shownRow
	err := sqlx.GetContext(ctx, from, &r, shown, id, low, high)
	if errors.Is(err, postgres.ErrNotFound) {
		return Shown{}, problem.NotFound("delivery")
	}
	if err != nil {
		return Shown{}, err
	}
	r.inUTC()
	r.Next, r.endpointDeleted = r.next(r.Delivery), r.DeletedAt != nil
	r.Log, err = readLog(ctx, from, id)
	return r.Shown, err
}

func (d *Delivery) inUTC() {
	d.CreatedAt = d.CreatedAt.UTC()
	inUTC(d.LastAttemptAt, d.DeliveredAt, d.NextAttemptAt)
}
