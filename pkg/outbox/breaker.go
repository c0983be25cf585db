package outbox

import (
	"time"
)

// BreakerState is the state of an endpoint's circuit breaker.
type BreakerState string

// The three states of a breaker.
const (
	Closed   BreakerState = "closed"    // sending
	Open     BreakerState = "open"      // nothing is claimed until a time
	HalfOpen BreakerState = "half_open" // one delivery is on its way as a probe
)

// BreakerPolicy says when a breaker opens, and for how long. An endpoint may have
// its own Failures and MaxOpen.
type BreakerPolicy struct {
	Failures     int           // failures in a row, over all dispatchers, that open it; 0: never
	FirstOpen    time.Duration // wait before the first probe; each further one is twice as long
	MaxOpen      time.Duration // no wait is longer
	DisableAfter time.Duration // nothing but failures for so long switches the endpoint off; 0: never
}

// breaker is what is known of how an endpoint does; a row of lanes.
type breaker struct {
	State           BreakerState `db:"breaker_state"`
	Until           *time.Time   `db:"breaker_until"` // unless closed
	Failures        int          `db:"failures"`
	Openings        int          `db:"openings"`
	FailingSince    *time.Time   `db:"failing_since"`    // unless the last attempt was a success
	RecoveringSince *time.Time   `db:"recovering_since"` // after it was open
	LastSuccessAt   *time.Time   `db:"last_success_at"`
	LastFailureAt   *time.Time   `db:"last_failure_at"`
}

// after is the breaker once a group of attempts has ended. A single success shows
// that the receiver answers, so it closes the breaker whatever else failed.
// While it is open, failures of attempts that had begun before do not prolong it;
// while it is half open they count as the probe's. No clock, no I/O.
//
//	closed ──failures──► open ──time, one probe──► half_open ──success──► closed
//	                      ▲                            │
//	                      └────────────failure─────────┘
func (b breaker) after(successes, failures int, p BreakerPolicy, now time.Time) breaker {
	if failures > 0 {
		b.LastFailureAt = &now
	}
	if successes > 0 {
		b.LastSuccessAt = &now
		if b.State != Closed {
			b.RecoveringSince = &now
		}
		b.State, b.Until, b.Failures, b.Openings, b.FailingSince = Closed, nil, 0, 0, nil
		return b
	}
	if failures == 0 {
		return b.untried(now)
	}
	b.Failures += failures
	if b.FailingSince == nil {
		b.FailingSince = &now
	}
	if b.State == HalfOpen || (b.State == Closed && p.Failures > 0 && b.Failures >= p.Failures) {
		b.Openings++
		until := now.Add(p.wait(b.Openings))
		b.State, b.Until, b.RecoveringSince = Open, &until, nil
	}
	return b
}

// untried is the breaker after a test, which says nothing of the endpoint: if it took
// the place of the probe, the next delivery may be one at once.
func (b breaker) untried(now time.Time) breaker {
	if b.State == HalfOpen {
		b.State, b.Until = Open, &now
	}
	return b
}

// wait is how long the breaker stays open the nth time in a row.
func (p BreakerPolicy) wait(n int) time.Duration {
	wait := p.FirstOpen
	for range n - 1 {
		if wait >= p.MaxOpen {
			break
		}
		wait *= 2
	}
	return min(wait, p.MaxOpen)
}

// hopeless says whether the endpoint has failed for so long that it is switched off.
func (b breaker) hopeless(p BreakerPolicy, now time.Time) bool {
	return p.DisableAfter > 0 && b.FailingSince != nil && now.Sub(*b.FailingSince) >= p.DisableAfter
}
