package event

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// Operational events about an endpoint.
const (
	EndpointDisabled  = "webhook.endpoint.disabled"  // the service has switched it off
	EndpointRecovered = "webhook.endpoint.recovered" // its receiver answers again
)

// Why the service switches an endpoint off.
const (
	DisabledGone    = "gone"    // the receiver answered 410
	DisabledFailing = "failing" // nothing but failures for days
)

// Endpoint says which endpoint an operational event is about; data.endpoint of a
// payload begins with it, keys in the documented order.
type Endpoint struct {
	ID             uuid.UUID  `json:"id"`
	Name           string     `json:"name"`
	URL            string     `json:"url" doc:"Without its query, which may hold a secret."`
	OrganizationID *uuid.UUID `json:"organization_id" doc:"null: the endpoint gets the events of all organizations."`
}

// shown leaves out the query of the URL.
func (e Endpoint) shown() Endpoint {
	e.URL, _, _ = strings.Cut(e.URL, "?")
	return e
}

// DisabledEndpoint is an endpoint that was switched off.
type DisabledEndpoint struct {
	Endpoint
	DisabledReason string     `json:"disabled_reason" enum:"gone,failing" doc:"gone: the receiver answered 410; failing: nothing but failures for days."`
	DisabledAt     Timestamp  `json:"disabled_at"`
	FailingSince   *Timestamp `json:"failing_since" doc:"The first failure since the last success."`
}

type endpointDisabled struct {
	Endpoint DisabledEndpoint `json:"endpoint"`
}

// NewEndpointDisabled makes the event of an endpoint that was switched off. This and
// all other operational events are about the endpoint's organization, or about nobody
// when the endpoint is global, and leave out the query of the URL.
func NewEndpointDisabled(id uuid.UUID, at time.Time, e DisabledEndpoint) (Envelope, error) {
	e.Endpoint = e.shown()
	return seal(EndpointDisabled, id, e.OrganizationID, at, endpointDisabled{e})
}

// RecoveredEndpoint is an endpoint whose circuit breaker has closed.
type RecoveredEndpoint struct {
	Endpoint
	FailingSince *Timestamp `json:"failing_since" doc:"The first failure before it; null: not known."`
	RecoveredAt  Timestamp  `json:"recovered_at"`
}

type endpointRecovered struct {
	Endpoint RecoveredEndpoint `json:"endpoint"`
}

// NewEndpointRecovered makes the event of an endpoint whose receiver answers again.
func NewEndpointRecovered(id uuid.UUID, at time.Time, e RecoveredEndpoint) (Envelope, error) {
	e.Endpoint = e.shown()
	return seal(EndpointRecovered, id, e.OrganizationID, at, endpointRecovered{e})
}
