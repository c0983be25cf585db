package httpapi

import (
	"context"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
)

// statsAnswer is what became of deliveries within a window, and what waits now.
type statsAnswer struct {
	Window             string           `json:"window"`
	From               event.Timestamp  `json:"from"`
	Until              event.Timestamp  `json:"until"`
	EndpointID         *uuid.UUID       `json:"endpoint_id"` // null: all
	Sent               int64            `json:"sent"`
	Failed             int64            `json:"failed"`
	FailedByReason     map[string]int64 `json:"failed_by_reason"`
	Retrying           int64            `json:"retrying"`
	Attempts           int64            `json:"attempts"`
	PossibleDuplicates int64            `json:"possible_duplicates"`
	SuccessRate        *float64         `json:"success_rate"` // null: no attempts
	ResponseTimeMS     responseTimes    `json:"response_time_ms"`
	Backlog            int              `json:"backlog"`
	BacklogIsMore      bool             `json:"backlog_is_more"`
	OldestDueSeconds   *float64         `json:"oldest_due_seconds"` // null: nothing is due
}

// responseTimes are quantiles in milliseconds; null: nothing was answered.
type responseTimes struct {
	P50 *float64 `json:"p50"`
	P95 *float64 `json:"p95"`
	P99 *float64 `json:"p99"`
}

// statsQuestion is what statistics are asked for.
type statsQuestion struct {
	window   outbox.Window
	endpoint *uuid.UUID
}

const defaultWindow = "24h"

// windowParam is how far back to look.
func windowParam(p *params) outbox.Window {
	var names []string
	byName := map[string]outbox.Window{}
	for _, w := range outbox.Windows() {
		names, byName[w.Name] = append(names, w.Name), w
	}
	if w, given := byName[p.oneOf("window", names...)]; given {
		return w
	}
	return byName[defaultWindow]
}

func statsParams(p *params) statsQuestion {
	q := statsQuestion{window: windowParam(p), endpoint: p.id("endpoint_id")}
	if q.endpoint != nil && *q.endpoint == uuid.Nil { // under which the totals are kept
		p.wrong.add("endpoint_id", "invalid_uuid", "no endpoint has the nil UUID: leave it out for all endpoints together")
	}
	return q
}

func (s *Server) getStats(ctx context.Context, q statsQuestion) (outbox.Statistics, error) {
	if q.endpoint == nil {
		return s.stats.Total(ctx, q.window)
	}
	return s.stats.Of(ctx, q.window, *q.endpoint)
}

func statsItem(s outbox.Statistics) (uuid.UUID, any) { return s.EndpointID, showStats(s) }

func showStats(s outbox.Statistics) statsAnswer {
	a := statsAnswer{
		Window: s.Window.Name, From: event.Timestamp(s.From), Until: event.Timestamp(s.Until),
		Sent: s.Sent, FailedByReason: s.Failed, Retrying: s.Retrying, Attempts: s.Attempts, PossibleDuplicates: s.PossibleDuplicates,
		ResponseTimeMS: responseTimes{quantile(s, 0.5), quantile(s, 0.95), quantile(s, 0.99)},
		Backlog:        s.Backlog.Deliveries, BacklogIsMore: s.Backlog.More,
	}
	if s.EndpointID != uuid.Nil {
		a.EndpointID = &s.EndpointID
	}
	for _, n := range s.Failed {
		a.Failed += n
	}
	if rate, known := s.SuccessRate(); known {
		a.SuccessRate = &rate
	}
	if s.Backlog.OldestDue > 0 {
		age := rounded(s.Backlog.OldestDue.Seconds())
		a.OldestDueSeconds = &age
	}
	return a
}

func quantile(s outbox.Statistics, q float64) *float64 {
	took, known := s.ResponseTimes.Quantile(q)
	if !known {
		return nil
	}
	ms := rounded(float64(took) / float64(time.Millisecond))
	return &ms
}

// rounded drops digits that mean nothing.
func rounded(x float64) float64 { return math.Round(x*100) / 100 }
