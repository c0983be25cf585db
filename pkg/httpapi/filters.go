package httpapi

import (
	"context"

	"github.com/sonicus/webhooks/pkg/endpoint"
)

// trialAnswer tells whether a filter lets a payload through.
type trialAnswer struct {
	Matches bool    `json:"matches"`
	Clause  *string `json:"clause"` // the first that is not met
}

func trialFields(f *fields) endpoint.Trial {
	return endpoint.Trial{Filter: f.document("filter"), Payload: f.document("payload"), EventID: f.id("event_id")}
}

func (s *Server) tryFilter(ctx context.Context, _ subject, t endpoint.Trial) (string, error) {
	return s.endpoints.Try(ctx, t)
}

func showTried(clause string) trialAnswer {
	if clause == "" {
		return trialAnswer{Matches: true}
	}
	return trialAnswer{Clause: &clause}
}
