package outbox

import (
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
)

// ShownReplay is a replay as people see it, by the API, on the command line and in the
// audit trail.
type ShownReplay struct {
	ID             *uuid.UUID       `json:"id"` // nil: it was only rehearsed
	Matched        *int64           `json:"matched"`
	Created        int64            `json:"created"`
	State          string           `json:"state"`
	FailureReason  *string          `json:"failure_reason"`
	ReachedAt      event.Timestamp  `json:"reached_at"`
	Mode           string           `json:"mode"`
	EndpointID     *uuid.UUID       `json:"endpoint_id"`
	OrganizationID *uuid.UUID       `json:"organization_id"`
	Statuses       []string         `json:"statuses"`
	EventTypes     []string         `json:"event_types"`
	Since          event.Timestamp  `json:"since"`
	Until          event.Timestamp  `json:"until"`
	RateLimit      int              `json:"rate_limit"`
	RequestedBy    string           `json:"requested_by"`
	CreatedAt      event.Timestamp  `json:"created_at"`
	UpdatedAt      event.Timestamp  `json:"updated_at"`
	FinishedAt     *event.Timestamp `json:"finished_at"`
}

// Shown is the replay as people see it.
func (r Replay) Shown() ShownReplay {
	s := ShownReplay{
		Matched: r.Matched, Created: r.Created, State: r.State, FailureReason: r.FailureReason, ReachedAt: event.Timestamp(r.ReachedAt()),
		Mode: r.Mode, EndpointID: r.EndpointID, OrganizationID: r.OrganizationID, Statuses: r.Statuses, EventTypes: r.EventTypes,
		Since: event.Timestamp(r.Since), Until: event.Timestamp(r.Until), RateLimit: r.RateLimit, RequestedBy: r.RequestedBy,
		CreatedAt: event.Timestamp(r.CreatedAt), UpdatedAt: event.Timestamp(r.UpdatedAt), FinishedAt: (*event.Timestamp)(r.FinishedAt),
	}
	if r.ID != uuid.Nil {
		s.ID = &r.ID
	}
	return s
}
