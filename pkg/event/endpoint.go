package event

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// EndpointDisabled tells that the service has switched an endpoint off.
const EndpointDisabled = "webhook.endpoint.disabled"

// Why the service switches an endpoint off.
const (
	DisabledGone    = "gone"    // the receiver answered 410
	DisabledFailing = "failing" // nothing but failures for days
)

// Endpoint is data.endpoint of a payload, keys in the documented order.
type Endpoint struct {
	ID             uuid.UUID  `json:"id"`
	Name           string     `json:"name"`
	URL            string     `json:"url" doc:"Without its query, which may hold a secret."`
	OrganizationID *uuid.UUID `json:"organization_id" doc:"null: the endpoint gets the events of all organizations."`
	DisabledReason string     `json:"disabled_reason" enum:"gone,failing" doc:"gone: the receiver answered 410; failing: nothing but failures for days."`
	DisabledAt     Timestamp  `json:"disabled_at"`
	FailingSince   *Timestamp `json:"failing_since" doc:"The first failure since the last success."`
}

type endpointDisabled struct {
	Endpoint Endpoint `json:"endpoint"`
}

// NewEndpointDisabled makes the event of an endpoint that was switched off. It is
// about the endpoint's organization, and about nobody when the endpoint is global.
// The query of e.URL is left out.
func NewEndpointDisabled(id uuid.UUID, at time.Time, e Endpoint) (Envelope, error) {
	e.URL, _, _ = strings.Cut(e.URL, "?")
	return seal(EndpointDisabled, id, e.OrganizationID, at, endpointDisabled{Endpoint: e})
}
