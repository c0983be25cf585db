package httpapi

import (
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// fateAnswer tells what became of an event for one endpoint.
type fateAnswer struct {
	EndpointID     uuid.UUID      `json:"endpoint_id"`
	Outcome        string         `json:"outcome"` // queued or skipped
	Reason         *string        `json:"reason"`
	Clause         *string        `json:"clause"`
	DeliveryID     *uuid.UUID     `json:"delivery_id"`
	DeliveryStatus *outbox.Status `json:"delivery_status"`
}

func fateFilter(p *params) *uuid.UUID { return p.id("endpoint_id") }

func fateItem(f outbox.Fate) (uuid.UUID, any) {
	a := fateAnswer{EndpointID: f.EndpointID, Outcome: "queued", DeliveryID: f.DeliveryID, DeliveryStatus: f.Status}
	if f.DeliveryID == nil {
		a.Outcome, a.Reason, a.Clause = "skipped", f.Reason, f.Clause
	}
	return f.EndpointID, a
}
