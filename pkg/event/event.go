// Package event owns the nouns: which event types exist, what their payloads
// look like, and the exact bytes that receivers get. No I/O.
//
// There are two kinds. Business events tell of organizations. Operational events,
// webhook.*, tell of the service itself and go only to endpoints that name them,
// by type or by "webhook.*": "*" stands for every business event, so that those
// who asked for these are not surprised by others.
package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// MaxPayload is the largest body that is sent, in bytes. Standard Webhooks
// advises to stay under 20 kB; the bound keeps one event from costing the others.
const MaxPayload = 256 << 10

// ErrTooLarge: the payload would be larger than [MaxPayload].
var ErrTooLarge = errors.New("event payload too large")

// Envelope is an event ready to be published.
type Envelope struct {
	ID             uuid.UUID // uuidv7 at Time
	Type           string
	Time           time.Time  // when the change was made, by the database's clock
	OrganizationID *uuid.UUID // whom the event is about; nil: the service itself
	Test           bool       // nothing has happened: it is sent to try receivers out
	Payload        []byte     // the request body, byte for byte
}

// body fixes the keys of every payload and their order.
type body struct {
	EventType string    `json:"event_type"`
	EventID   uuid.UUID `json:"event_id" doc:"The same on every attempt and for every endpoint."`
	Timestamp Timestamp `json:"timestamp" doc:"When it happened."`
	Data      any       `json:"data"`
	Test      bool      `json:"test,omitempty" doc:"true in a test, in which nothing has happened; otherwise left out."`
}

// Fields names what every payload has at its root, in this order.
func Fields() []string { return []string{"event_type", "event_id", "timestamp", "data"} }

func seal(eventType string, id uuid.UUID, organization *uuid.UUID, at time.Time, data any) (Envelope, error) {
	return Envelope{ID: id, Type: eventType, Time: at, OrganizationID: organization}.with(data)
}

// with completes an envelope by its payload.
func (e Envelope) with(data any) (Envelope, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // a receiver's log should read R&D, not R\u0026D
	if err := enc.Encode(body{EventType: e.Type, EventID: e.ID, Timestamp: Timestamp(e.Time), Data: data, Test: e.Test}); err != nil {
		return Envelope{}, fmt.Errorf("encode %s: %w", e.Type, err)
	}
	e.Payload = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(e.Payload) > MaxPayload {
		return Envelope{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(e.Payload), MaxPayload)
	}
	return e, nil
}

// timestampLayout is ISO 8601 with exactly six decimals and Z.
const timestampLayout = "2006-01-02T15:04:05.000000Z"

// Timestamp is an instant as receivers see it: UTC, microseconds, Z.
type Timestamp time.Time

// String formats the instant, for example 2025-08-07T16:20:52.123456Z.
func (t Timestamp) String() string { return time.Time(t).UTC().Format(timestampLayout) }

// MarshalJSON writes the instant as a JSON string.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	return []byte(`"` + t.String() + `"`), nil
}

// UnmarshalJSON reads any RFC 3339 instant.
func (t *Timestamp) UnmarshalJSON(b []byte) error { return (*time.Time)(t).UnmarshalJSON(b) }
