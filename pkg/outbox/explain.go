package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// Fate is what became of an event for one endpoint when it was published.
type Fate struct {
	EndpointID uuid.UUID  `db:"endpoint_id"`
	DeliveryID *uuid.UUID `db:"delivery_id"` // nil: it was passed over
	Status     *Status    `db:"status"`      // of the delivery
	Reason     *string    `db:"reason"`      // why it was passed over, one of Reasons
	Clause     *string    `db:"clause"`      // of the endpoint's filter, when that was why
}

// Reasons are why an endpoint did not get an event.
func Reasons() []string {
	return []string{
		"inactive",      // it was switched off, or its organization had been deleted
		"event_type",    // it had not subscribed to the type
		"filter",        // the payload did not meet its filter
		"organization",  // it belongs to another organization
		"created_later", // it was registered afterwards
		"deleted",       // it had been deleted
		"concurrent",    // it was just being registered or deleted
		"unrecorded",    // the event is older than the record of reasons
	}
}

// fates asks for each endpoint in its turn: LIMIT 1 keeps the planner from reading all
// deliveries of the day. What was recorded comes first, and what is not known from it
// follows from what of an endpoint never changes.
const fates = `
SELECT e.id AS endpoint_id, d.id AS delivery_id, d.status,
       CASE WHEN d.id IS NOT NULL THEN NULL
            WHEN e.id = ANY (v.skipped_inactive) THEN 'inactive'
            WHEN e.id = ANY (v.skipped_event_type) THEN 'event_type'
            WHEN v.skipped_filter ->> e.id::text IS NOT NULL THEN 'filter'
            WHEN e.created_at > v.created_at THEN 'created_later'
            WHEN e.deleted_at <= v.created_at THEN 'deleted'
            WHEN e.organization_id <> v.organization_id OR (e.organization_id IS NOT NULL AND v.organization_id IS NULL) THEN 'organization'
            WHEN v.skipped_inactive = '{}' THEN 'unrecorded'
            ELSE 'concurrent' END AS reason,
       v.skipped_filter ->> e.id::text AS clause
FROM sonicus.events v
CROSS JOIN sonicus.endpoints e
LEFT JOIN LATERAL (SELECT d.id, d.status FROM sonicus.deliveries d
                   WHERE d.id = sonicus.delivery_id(v.id, e.id, 1) AND d.id >= $2 AND d.id < $3 LIMIT 1) d ON true
WHERE v.id = $1 AND v.id >= $2 AND v.id < $3 AND e.id < $4 AND ($5::uuid IS NULL OR e.id = $5)
ORDER BY e.id DESC
LIMIT $6`

// Explain tells what became of an event for up to limit endpoints, the newest first,
// with ids below before; uuid.Nil begins with the newest, and endpoint, when it is not
// nil, asks for one. Those that are deleted are among them. An event that does not
// exist is a problem of kind NotFound.
func (s *Deliveries) Explain(ctx context.Context, event uuid.UUID, endpoint *uuid.UUID, limit int, before uuid.UUID) ([]Fate, error) {
	if before == uuid.Nil {
		before = uuid.Max
	}
	low, high := span([]uuid.UUID{event})
	var (
		found bool
		all   []Fate
	)
	err := s.db.GetContext(ctx, &found, `SELECT true FROM sonicus.events v WHERE v.id = $1 AND v.id >= $2 AND v.id < $3`, event, low, high)
	if errors.Is(err, postgres.ErrNotFound) {
		return nil, problem.NotFound("event")
	}
	if err == nil {
		err = s.db.SelectContext(ctx, &all, fates, event, low, high, before, endpoint, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("explain event: %w", postgres.Explain(err, ""))
	}
	return all, nil
}
