package dispatch

import (
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// successEvery is how often the success of an endpoint that is well is recorded.
const successEvery = time.Second

// news is what this process last recorded of an endpoint.
type news struct {
	success time.Time // when
	failed  bool      // since that success
}

// outcomes sums results up by endpoint, and leaves out what is known: that an
// endpoint which was well a moment ago still is. Tests count for nothing, but where an
// endpoint is in trouble one may have been let through as a probe.
func (s *settler) outcomes(now time.Time, results []outbox.Result) []outbox.Outcome {
	var all []outbox.Outcome
	troubled := map[uuid.UUID]bool{}
	at := map[uuid.UUID]int{}
	for _, r := range results {
		if r.Test && !r.Troubled {
			continue
		}
		i, seen := at[r.EndpointID]
		if !seen {
			i = len(all)
			at[r.EndpointID] = i
			all = append(all, outbox.Outcome{EndpointID: r.EndpointID})
		}
		switch {
		case r.Test:
		case r.Status == outbox.Sent:
			all[i].Successes++
		default:
			all[i].Failures++
		}
		troubled[r.EndpointID] = troubled[r.EndpointID] || r.Troubled
	}
	kept := all[:0]
	for _, o := range all {
		known := s.news[o.EndpointID]
		if o.Failures > 0 || troubled[o.EndpointID] || known.failed || now.Sub(known.success) >= successEvery {
			kept = append(kept, o)
		}
	}
	return kept
}

// remember notes what has been recorded.
func (s *settler) remember(now time.Time, outcomes []outbox.Outcome) {
	if len(s.news) > keepEndpoints {
		clear(s.news)
	}
	for _, o := range outcomes {
		known := s.news[o.EndpointID]
		known.failed = o.Successes == 0
		if o.Successes > 0 {
			known.success = now
		}
		s.news[o.EndpointID] = known
	}
}
