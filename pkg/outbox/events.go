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

// Events are what people see of the events.
type Events struct{ db *sqlx.DB }

// NewEvents makes the events in db readable.
func NewEvents(db *sqlx.DB) *Events { return &Events{db: db} }

// Event is one event as a list shows it. Times are UTC.
type Event struct {
	ID             uuid.UUID  `db:"id"`
	Type           string     `db:"event_type"`
	OrganizationID *uuid.UUID `db:"organization_id"` // whom it is about; nil: the service itself
	Test           bool       `db:"test"`            // nothing has happened
	Fanout         int        `db:"fanout"`          // how many endpoints got it when it was published
	CreatedAt      time.Time  `db:"created_at"`      // when it happened
}

// ShownEvent is an event with all there is to see of it.
type ShownEvent struct {
	Event
	Payload    json.RawMessage `db:"payload"` // exactly what is sent
	Deliveries []State         `db:"-"`       // the last one of each endpoint, up to a thousand
}

// State is how far the delivery of an event to an endpoint is.
type State struct {
	EndpointID    uuid.UUID  `db:"endpoint_id"`
	DeliveryID    uuid.UUID  `db:"id"`
	Generation    int        `db:"generation"`
	Status        Status     `db:"status"`
	FailureReason *string    `db:"failure_reason"`
	AttemptCount  int        `db:"attempt_count"`
	MaxAttempts   int        `db:"max_attempts"`
	HTTPStatus    *int       `db:"http_status_code"` // of the last answer
	LastAttemptAt *time.Time `db:"last_attempt_at"`
	DeliveredAt   *time.Time `db:"delivered_at"`
}

const eventColumns = `v.id, v.event_type, v.organization_id, v.test, v.fanout, v.created_at`

// states lie between two bounds of ids, as everything of one event does; see [Filter.span].
const states = `
SELECT DISTINCT ON (d.endpoint_id) d.endpoint_id, d.id, d.generation, d.status, d.failure_reason, d.attempt_count, d.max_attempts,
       d.http_status_code, d.last_attempt_at, d.delivered_at
FROM sonicus.deliveries d
WHERE d.event_id = $1 AND d.id >= $2 AND d.id < $3
ORDER BY d.endpoint_id, d.generation DESC
LIMIT 1000`

// Get returns one event; one that does not exist is a problem of kind NotFound.
func (s *Events) Get(ctx context.Context, id uuid.UUID) (ShownEvent, error) {
	var e ShownEvent
	err := s.db.GetContext(ctx, &e, `SELECT `+eventColumns+`, v.payload FROM sonicus.events v WHERE v.id = $1`, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return ShownEvent{}, problem.NotFound("event")
	}
	if err == nil {
		low, high := Filter{EventID: &id}.span(uuid.Nil)
		err = s.db.SelectContext(ctx, &e.Deliveries, states, id, low, high)
	}
	if err != nil {
		return ShownEvent{}, fmt.Errorf("get event: %w", postgres.Explain(err, ""))
	}
	e.CreatedAt = e.CreatedAt.UTC()
	for _, d := range e.Deliveries {
		inUTC(d.LastAttemptAt, d.DeliveredAt)
	}
	return e, nil
}

// Published looks for an event, after a commit whose outcome is unknown, and returns
// nil when it is there.
func Published(ctx context.Context, db *sqlx.DB, id uuid.UUID) error {
	var there bool
	if err := db.GetContext(ctx, &there, `SELECT true FROM sonicus.events v WHERE v.id = $1`, id); err != nil {
		return fmt.Errorf("look for event: %w", err)
	}
	return nil
}

// inUTC changes the zone of what the driver read, not the instants.
func inUTC(times ...*time.Time) {
	for _, at := range times {
		if at != nil {
			*at = at.UTC()
		}
	}
}
