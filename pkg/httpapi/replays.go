package httpapi

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
)

// replayAnswer is a replay. A rehearsal has no id.
type replayAnswer struct {
	ID             *uuid.UUID       `json:"id"`
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

func replayFields(f *fields) outbox.NewReplay {
	return outbox.NewReplay{
		Mode: f.text("mode"), EndpointID: f.id("endpoint_id"), OrganizationID: f.id("organization_id"),
		Statuses: f.texts("statuses"), EventTypes: f.texts("event_types"), Since: f.instant("since"), Until: f.instant("until"),
		RateLimit: f.integer("rate_limit", endpoint.Range{Low: 1, High: outbox.MaxReplayRate}), DryRun: f.flag("dry_run"),
	}
}

// showNewReplay answers 202 for a replay, which is done later, and 200 for a rehearsal.
func showNewReplay(r outbox.Replay) created {
	if r.ID == uuid.Nil {
		return created{code: http.StatusOK, body: showReplay(r)}
	}
	return created{code: http.StatusAccepted, location: replaysPath + "/" + r.ID.String(), body: showReplay(r)}
}

func replayItem(r outbox.Replay) (uuid.UUID, any) { return r.ID, showReplay(r) }

func showReplay(r outbox.Replay) replayAnswer {
	a := replayAnswer{
		Matched: r.Matched, Created: r.Created, State: r.State, FailureReason: r.FailureReason, ReachedAt: event.Timestamp(r.ReachedAt()),
		Mode: r.Mode, EndpointID: r.EndpointID, OrganizationID: r.OrganizationID, Statuses: r.Statuses, EventTypes: r.EventTypes,
		Since: event.Timestamp(r.Since), Until: event.Timestamp(r.Until), RateLimit: r.RateLimit, RequestedBy: r.RequestedBy,
		CreatedAt: event.Timestamp(r.CreatedAt), UpdatedAt: event.Timestamp(r.UpdatedAt), FinishedAt: (*event.Timestamp)(r.FinishedAt),
	}
	if r.ID != uuid.Nil {
		a.ID = &r.ID
	}
	return a
}
