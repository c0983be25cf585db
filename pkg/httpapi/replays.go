package httpapi

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/outbox"
)

func replayFields(f *fields) outbox.NewReplay {
	n := outbox.NewReplay{
		Mode: f.text("mode"), EndpointID: f.id("endpoint_id"), OrganizationID: f.id("organization_id"),
		Statuses: f.texts("statuses"), EventTypes: f.texts("event_types"), Since: f.instant("since"), Until: f.instant("until"),
		RateLimit: f.integer("rate_limit", endpoint.Range{Low: 1, High: outbox.MaxReplayRate}), DryRun: f.flag("dry_run"),
	}
	f.wrong.judge(n.Check())
	return n
}

// showNewReplay answers 202 for a replay, which is done later, and 200 for a rehearsal.
func showNewReplay(r outbox.Replay) created {
	if r.ID == uuid.Nil {
		return created{code: http.StatusOK, body: showReplay(r)}
	}
	return created{code: http.StatusAccepted, location: replaysPath + "/" + r.ID.String(), body: showReplay(r)}
}

func replayItem(r outbox.Replay) (uuid.UUID, any) { return r.ID, showReplay(r) }

func showReplay(r outbox.Replay) outbox.ShownReplay { return r.Shown() }
