package outbox

import (
	"testing"
	"time"
)

// Every reason occurs, and where several hold the first is told.
func TestNextAttemptIsExplainedByWhatAClaimLooksAt(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 8, 7, 16, 20, 52, 0, time.UTC)
	before, after, later := now.Add(-time.Minute), now.Add(time.Minute), now.Add(time.Hour)
	ended := now.Add(-2 * time.Minute)
	due := waiting{Now: now, Queued: true, Active: true, DueAt: &before, EndedAt: &ended, Traced: true, RetryIn: new(59.99)}
	with := func(change func(*waiting)) waiting { w := due; change(&w); return w }
	told := map[string]bool{}
	for name, tt := range map[string]struct {
		w       waiting
		status  Status
		because string
		at      *time.Time
	}{
		"due for the first time":         {due, Pending, "first_attempt", &before},
		"due again":                      {due, Retrying, "schedule", &before},
		"due before its time":            {with(func(w *waiting) { w.RetryIn = new(3600.0) }), Retrying, "requested", &before},
		"after it had failed":            {with(func(w *waiting) { w.RetryIn = nil }), Retrying, "requested", &before},
		"as the receiver asked":          {with(func(w *waiting) { w.RetryAfter = new(60.0) }), Retrying, "retry_after", &before},
		"of an old version":              {with(func(w *waiting) { w.Traced = false; w.RetryIn = nil; w.EndedAt = nil }), Retrying, "schedule", &before},
		"later":                          {with(func(w *waiting) { w.DueAt = &after }), Retrying, "schedule", &after},
		"put off":                        {with(func(w *waiting) { w.DueAt = &after }), Pending, "postponed", &after},
		"in flight":                      {with(func(w *waiting) { w.LeaseUntil = &after; w.PausedAt = &before }), Pending, "in_flight", &after},
		"the lease is over":              {with(func(w *waiting) { w.LeaseUntil = &now }), Pending, "lease_ended", &now},
		"in order":                       {with(func(w *waiting) { w.DueAt = nil }), Pending, "waits_for_turn", nil},
		"paused, and the breaker open":   {with(func(w *waiting) { w.PausedAt = &before; w.BreakerUntil = &after }), Pending, "endpoint_paused", nil},
		"off, and paused":                {with(func(w *waiting) { w.Active = false; w.PausedAt = &before }), Pending, "endpoint_disabled", nil},
		"deleted, and off":               {with(func(w *waiting) { w.DeletedAt = &before; w.Active = false }), Pending, "endpoint_deleted", nil},
		"breaker open":                   {with(func(w *waiting) { w.BreakerUntil = &after; w.PacedUntil = &later }), Retrying, "breaker_open", &after},
		"breaker open until before then": {with(func(w *waiting) { w.BreakerUntil = &after; w.DueAt = &later }), Retrying, "schedule", &later},
		"probe is let through":           {with(func(w *waiting) { w.BreakerUntil = &now }), Retrying, "schedule", &before},
		"rate limit":                     {with(func(w *waiting) { w.PacedUntil = &after; w.RateLimit = new(5) }), Pending, "paced", &after},
		"recovery":                       {with(func(w *waiting) { w.PacedUntil = &after }), Pending, "paced", &after},
		"pace of the past":               {with(func(w *waiting) { w.PacedUntil = &before }), Pending, "first_attempt", &before},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.w.next(Delivery{Status: tt.status, AttemptCount: 2, MaxAttempts: 10})
			if got.Because != tt.because || got.Detail == "" || (got.At == nil) != (tt.at == nil) || got.At != nil && !got.At.Equal(*tt.at) {
				t.Errorf("got %+v, want %s at %v", got, tt.because, tt.at)
			}
			told[got.Because] = true
		})
	}
	for _, b := range Becauses() {
		if !told[b] {
			t.Errorf("%s does not occur", b)
		}
	}
	if got := (waiting{}).next(Delivery{Status: Sent}); got != nil {
		t.Errorf("got %+v of what is done", got)
	}
}
