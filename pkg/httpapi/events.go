package httpapi

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
)

// eventAnswer is an event in a list.
type eventAnswer struct {
	ID             uuid.UUID       `json:"id"`
	EventType      string          `json:"event_type"`
	OrganizationID *uuid.UUID      `json:"organization_id"`
	Test           bool            `json:"test"`
	Fanout         int             `json:"fanout"`
	CreatedAt      event.Timestamp `json:"created_at"`
}

// shownEvent is all of one event.
type shownEvent struct {
	eventAnswer
	Payload    json.RawMessage `json:"payload"`
	Deliveries []stateAnswer   `json:"deliveries"`
}

// stateAnswer is how far an event is on its way to an endpoint.
type stateAnswer struct {
	EndpointID     uuid.UUID        `json:"endpoint_id"`
	DeliveryID     uuid.UUID        `json:"delivery_id"`
	Generation     int              `json:"generation"`
	Status         outbox.Status    `json:"status"`
	FailureReason  *string          `json:"failure_reason"`
	AttemptCount   int              `json:"attempt_count"`
	MaxAttempts    int              `json:"max_attempts"`
	HTTPStatusCode *int             `json:"http_status_code"`
	LastAttemptAt  *event.Timestamp `json:"last_attempt_at"`
	DeliveredAt    *event.Timestamp `json:"delivered_at"`
}

func eventFilter(p *params) outbox.EventFilter {
	return outbox.EventFilter{
		EventType: p.eventType("event_type"), OrganizationID: p.id("organization_id"), Since: p.instant("since"), Until: p.instant("until"),
	}
}

func eventItem(e outbox.Event) (uuid.UUID, any) { return e.ID, showEvent(e) }

func showEvent(e outbox.Event) eventAnswer {
	return eventAnswer{
		ID: e.ID, EventType: e.Type, OrganizationID: e.OrganizationID, Test: e.Test, Fanout: e.Fanout, CreatedAt: event.Timestamp(e.CreatedAt),
	}
}

func showWholeEvent(e outbox.ShownEvent) shownEvent {
	shown := shownEvent{eventAnswer: showEvent(e.Event), Payload: e.Payload, Deliveries: []stateAnswer{}}
	for _, d := range e.Deliveries {
		shown.Deliveries = append(shown.Deliveries, stateAnswer{
			EndpointID: d.EndpointID, DeliveryID: d.DeliveryID, Generation: d.Generation, Status: d.Status, FailureReason: d.FailureReason,
			AttemptCount: d.AttemptCount, MaxAttempts: d.MaxAttempts, HTTPStatusCode: d.HTTPStatus,
			LastAttemptAt: (*event.Timestamp)(d.LastAttemptAt), DeliveredAt: (*event.Timestamp)(d.DeliveredAt),
		})
	}
	return shown
}
