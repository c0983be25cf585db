package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBreakerTransitions(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before := now.Add(-time.Hour)
	in := func(d time.Duration) *time.Time {
		at := now.Add(d)
		return &at
	}
	p := BreakerPolicy{Failures: 5, FirstOpen: 10 * time.Second, MaxOpen: time.Minute}
	failing := breaker{State: Closed, Failures: 3, FailingSince: &before}
	open := breaker{State: Open, Until: in(time.Second), Failures: 9, Openings: 2, FailingSince: &before}
	probing := breaker{State: HalfOpen, Until: in(time.Second), Failures: 9, Openings: 2, FailingSince: &before}
	for name, c := range map[string]struct {
		from                breaker
		successes, failures int
		policy              BreakerPolicy
		want                breaker
	}{
		"nothing happened":               {failing, 0, 0, p, failing},
		"first failure":                  {breaker{State: Closed}, 0, 1, p, breaker{State: Closed, Failures: 1, FailingSince: &now, LastFailureAt: &now}},
		"below the threshold":            {failing, 0, 1, p, breaker{State: Closed, Failures: 4, FailingSince: &before, LastFailureAt: &now}},
		"at the threshold":               {failing, 0, 2, p, breaker{State: Open, Until: in(10 * time.Second), Failures: 5, Openings: 1, FailingSince: &before, LastFailureAt: &now}},
		"never":                          {failing, 0, 99, BreakerPolicy{}, breaker{State: Closed, Failures: 102, FailingSince: &before, LastFailureAt: &now}},
		"success among failures":         {failing, 1, 9, p, breaker{State: Closed, LastSuccessAt: &now, LastFailureAt: &now}},
		"failure begun before it opened": {open, 0, 1, p, breaker{State: Open, Until: open.Until, Failures: 10, Openings: 2, FailingSince: &before, LastFailureAt: &now}},
		"late success while open":        {open, 1, 0, p, breaker{State: Closed, RecoveringSince: &now, LastSuccessAt: &now}},
		"probe failed":                   {probing, 0, 1, p, breaker{State: Open, Until: in(40 * time.Second), Failures: 10, Openings: 3, FailingSince: &before, LastFailureAt: &now}},
		"probe succeeded":                {probing, 1, 0, p, breaker{State: Closed, RecoveringSince: &now, LastSuccessAt: &now}},
		"failing again while recovering": {
			breaker{State: Closed, Failures: 4, FailingSince: &before, RecoveringSince: &before},
			0, 1, p,
			breaker{State: Open, Until: in(10 * time.Second), Failures: 5, Openings: 1, FailingSince: &before, LastFailureAt: &now},
		},
	} {
		if diff := cmp.Diff(c.want, c.from.after(c.successes, c.failures, c.policy, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestBreakerWaitsTwiceAsLongEachTime(t *testing.T) {
	t.Parallel()
	p := BreakerPolicy{FirstOpen: 5 * time.Second, MaxOpen: 5 * time.Minute}
	for n, want := range map[int]time.Duration{
		1: 5 * time.Second, 2: 10 * time.Second, 3: 20 * time.Second, 6: 160 * time.Second, 7: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		if got := p.wait(n); got != want {
			t.Errorf("opening %d waits %v, want %v", n, got, want)
		}
	}
	if got := (BreakerPolicy{FirstOpen: time.Hour, MaxOpen: time.Second}).wait(1); got != time.Second {
		t.Errorf("waits %v beyond the longest", got)
	}
}

func TestEndpointIsHopelessAfterNothingButFailures(t *testing.T) {
	t.Parallel()
	now := time.Now()
	since := func(d time.Duration) breaker { at := now.Add(-d); return breaker{FailingSince: &at} }
	p := BreakerPolicy{DisableAfter: time.Hour}
	for name, c := range map[string]struct {
		b    breaker
		p    BreakerPolicy
		want bool
	}{
		"well": {breaker{}, p, false}, "not yet": {since(time.Minute), p, false}, "for long": {since(time.Hour), p, true},
		"never": {since(1000 * time.Hour), BreakerPolicy{}, false},
	} {
		if got := c.b.hopeless(c.p, now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
