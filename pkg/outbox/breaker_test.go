package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// in is noon and some seconds.
func in(seconds int) *time.Time {
	at := noon.Add(time.Duration(seconds) * time.Second)
	return &at
}

func TestBreakerAfterAttempts(t *testing.T) {
	t.Parallel()
	policy := BreakerPolicy{Failures: 3, FirstOpen: 5 * time.Second, MaxOpen: 15 * time.Second}
	never := policy
	never.Failures = 0
	var (
		well    = breaker{State: Closed, LastSuccessAt: in(-60)}
		shaky   = breaker{State: Closed, Failures: 2, FailingSince: in(-9), LastSuccessAt: in(-60), LastFailureAt: in(-1)}
		open    = breaker{State: Open, Until: in(4), Failures: 3, Openings: 1, FailingSince: in(-9), LastFailureAt: in(-1)}
		probing = breaker{State: HalfOpen, Until: in(20), Failures: 3, Openings: 1, FailingSince: in(-9), LastFailureAt: in(-1)}
		healing = breaker{State: Closed, RecoveringSince: in(-2), LastSuccessAt: in(-2)}
	)
	returned := probing
	returned.State, returned.Until = Open, in(0)
	for _, c := range []struct {
		name                string
		before              breaker
		successes, failures int
		policy              BreakerPolicy
		want                breaker
	}{
		{"a test, closed", shaky, 0, 0, policy, shaky},
		{"a test, open", open, 0, 0, policy, open},
		{"a test instead of the probe", probing, 0, 0, policy, returned},

		{
			"below the threshold", well, 0, 2, policy,
			breaker{State: Closed, Failures: 2, FailingSince: in(0), LastSuccessAt: in(-60), LastFailureAt: in(0)},
		},
		{
			"at the threshold, one by one", shaky, 0, 1, policy,
			breaker{State: Open, Until: in(5), Failures: 3, Openings: 1, FailingSince: in(-9), LastSuccessAt: in(-60), LastFailureAt: in(0)},
		},
		{
			"at the threshold, at once", well, 0, 3, policy,
			breaker{State: Open, Until: in(5), Failures: 3, Openings: 1, FailingSince: in(0), LastSuccessAt: in(-60), LastFailureAt: in(0)},
		},
		{
			"beyond the threshold it opens once", well, 0, 300, policy,
			breaker{State: Open, Until: in(5), Failures: 300, Openings: 1, FailingSince: in(0), LastSuccessAt: in(-60), LastFailureAt: in(0)},
		},
		{
			"threshold 0 never opens", shaky, 0, 1000, never,
			breaker{State: Closed, Failures: 1002, FailingSince: in(-9), LastSuccessAt: in(-60), LastFailureAt: in(0)},
		},

		{
			"stragglers do not prolong an open breaker", open, 0, 50, policy,
			breaker{State: Open, Until: in(4), Failures: 53, Openings: 1, FailingSince: in(-9), LastFailureAt: in(0)},
		},
		{
			"failed probe waits twice as long", probing, 0, 1, policy,
			breaker{State: Open, Until: in(10), Failures: 4, Openings: 2, FailingSince: in(-9), LastFailureAt: in(0)},
		},
		{
			"failed probe waits no longer than the maximum",
			breaker{State: HalfOpen, Until: in(20), Failures: 9, Openings: 7, FailingSince: in(-9)},
			0, 1, policy,
			breaker{State: Open, Until: in(15), Failures: 10, Openings: 8, FailingSince: in(-9), LastFailureAt: in(0)},
		},
		{
			"failed probe opens also what opens no more by itself", probing, 0, 1, never,
			breaker{State: Open, Until: in(10), Failures: 4, Openings: 2, FailingSince: in(-9), LastFailureAt: in(0)},
		},
		{
			"opening ends the recovery", healing, 0, 3, policy,
			breaker{State: Open, Until: in(5), Failures: 3, Openings: 1, FailingSince: in(0), LastSuccessAt: in(-2), LastFailureAt: in(0)},
		},
		{
			"a failure below the threshold does not", healing, 0, 1, policy,
			breaker{State: Closed, Failures: 1, FailingSince: in(0), RecoveringSince: in(-2), LastSuccessAt: in(-2), LastFailureAt: in(0)},
		},

		{"success while closed", well, 1, 0, policy, breaker{State: Closed, LastSuccessAt: in(0)}},
		{"success forgets the failures", shaky, 1, 0, policy, breaker{State: Closed, LastSuccessAt: in(0), LastFailureAt: in(-1)}},
		{
			"success while closed does not start the recovery again", healing, 1, 0, policy,
			breaker{State: Closed, RecoveringSince: in(-2), LastSuccessAt: in(0)},
		},
		{
			"successful probe closes and starts the recovery", probing, 1, 0, policy,
			breaker{State: Closed, RecoveringSince: in(0), LastSuccessAt: in(0), LastFailureAt: in(-1)},
		},
		{
			"success of a straggler closes an open breaker", open, 1, 0, policy,
			breaker{State: Closed, RecoveringSince: in(0), LastSuccessAt: in(0), LastFailureAt: in(-1)},
		},
		{"one success outweighs any failures", shaky, 1, 500, policy, breaker{State: Closed, LastSuccessAt: in(0), LastFailureAt: in(0)}},
		{
			"also while half open", probing, 1, 500, policy,
			breaker{State: Closed, RecoveringSince: in(0), LastSuccessAt: in(0), LastFailureAt: in(0)},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := c.before
			if d := cmp.Diff(c.want, c.before.after(c.successes, c.failures, c.policy, noon)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(before, c.before); d != "" {
				t.Errorf("the breaker before is changed: %s", d)
			}
		})
	}
}

// What the table cannot list: every state, count and threshold together.
func TestBreakerNeverWaitsWithoutAnEnd(t *testing.T) {
	t.Parallel()
	for _, state := range []BreakerState{Closed, Open, HalfOpen} {
		for n := range 6 * 4 * 3 * 5 * 4 {
			known, openings, successes, failures, threshold := n%6, n/6%4, n/24%3, n/72%5, n/360
			b := breaker{State: state, Failures: known, Openings: openings}
			if state != Closed {
				b.Until = in(7)
			}
			if known > 0 {
				b.FailingSince = in(-100)
			}
			got := b.after(successes, failures, BreakerPolicy{Failures: threshold, FirstOpen: time.Second, MaxOpen: 4 * time.Second}, noon)
			tested := state == HalfOpen && successes+failures == 0
			opened := got.State == Open && !tested && (state != Open || !got.Until.Equal(*b.Until))
			switch {
			case (got.State == Closed) != (got.Until == nil):
				t.Errorf("%+v: %s until %v", b, got.State, got.Until)
			case successes > 0 && (got.State != Closed || got.Failures+got.Openings > 0 || got.FailingSince != nil):
				t.Errorf("%+v: after a success %+v", b, got)
			case successes == 0 && got.Failures != known+failures:
				t.Errorf("%+v: %d failures more make %d", b, failures, got.Failures)
			case opened && (failures == 0 || state == Open || got.Openings != openings+1 || got.Until.After(*in(4)) || !got.Until.After(noon)):
				t.Errorf("%+v: opened as %+v", b, got)
			case tested && (got.State != Open || !got.Until.Equal(noon) || got.Openings != openings):
				t.Errorf("%+v: after a test %+v", b, got)
			case got.State == HalfOpen && (state != HalfOpen || failures > 0):
				t.Errorf("%+v: half open without a claim", b)
			case state == Closed && successes == 0 && opened != (threshold > 0 && failures > 0 && known+failures >= threshold):
				t.Errorf("%+v: %d failures, threshold %d: %+v", b, failures, threshold, got)
			}
		}
	}
}

func TestWaitsDoubleUpToTheLongest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, most time.Duration
		n           int
		want        time.Duration
	}{
		{5 * time.Second, 5 * time.Minute, 1, 5 * time.Second},
		{5 * time.Second, 5 * time.Minute, 2, 10 * time.Second},
		{5 * time.Second, 5 * time.Minute, 6, 160 * time.Second},
		{5 * time.Second, 5 * time.Minute, 7, 5 * time.Minute},
		{5 * time.Second, 5 * time.Minute, 1_000_000, 5 * time.Minute},
		{5 * time.Second, time.Second, 1, time.Second}, // an endpoint's own maximum
		{5 * time.Second, time.Second, 9, time.Second},
		{time.Hour, 24 * time.Hour, 1_000_000, 24 * time.Hour},
	} {
		if got := (BreakerPolicy{FirstOpen: c.first, MaxOpen: c.most}).wait(c.n); got != c.want {
			t.Errorf("%s, at most %s, opening %d: %s, want %s", c.first, c.most, c.n, got, c.want)
		}
	}
}

func TestHopelessIsWhoeverOnlyFailsForDays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		since *time.Time
		after time.Duration
		want  bool
	}{
		"well":            {nil, time.Hour, false},
		"not long enough": {in(-3599), time.Hour, false},
		"long enough":     {in(-3600), time.Hour, true},
		"never":           {in(-3600 * 1000), 0, false},
	} {
		if got := (breaker{FailingSince: c.since}).hopeless(BreakerPolicy{DisableAfter: c.after}, noon); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
