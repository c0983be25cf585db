package event

import (
	"time"

	"github.com/google/uuid"
)

// DeliveryExhausted tells that a delivery was given up.
const DeliveryExhausted = "webhook.delivery.exhausted"

// Why a delivery is given up once its attempts are used up.
const (
	Exhausted      = "exhausted"       // every attempt failed
	BlockedAddress = "blocked_address" // exhausted, and the last attempt was refused by the address guard
)

// Delivery is data.delivery of a payload, keys in the documented order.
type Delivery struct {
	ID             uuid.UUID `json:"id" doc:"As in X-Sonicus-Delivery-ID."`
	EventID        uuid.UUID `json:"event_id" doc:"The event that was not delivered."`
	EventType      string    `json:"event_type"`
	CreatedAt      Timestamp `json:"created_at"`
	AttemptCount   int       `json:"attempt_count"`
	FailureReason  string    `json:"failure_reason" enum:"exhausted,blocked_address" doc:"exhausted: every attempt failed; blocked_address: so did the last one because of the receiver's address."`
	HTTPStatusCode *int      `json:"http_status_code" doc:"Of the last answer; null: none came."`
	ErrorMessage   *string   `json:"error_message" doc:"What went wrong in the last attempt."`
}

type deliveryExhausted struct {
	Delivery Delivery `json:"delivery"`
	Endpoint Endpoint `json:"endpoint"`
}

// NewDeliveryExhausted makes the event of a delivery to e that was given up.
func NewDeliveryExhausted(id uuid.UUID, at time.Time, d Delivery, e Endpoint) (Envelope, error) {
	return seal(DeliveryExhausted, id, e.OrganizationID, at, deliveryExhausted{d, e.shown()})
}
