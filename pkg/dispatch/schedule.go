package dispatch

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Schedule says how long to wait between attempts: by exponential backoff, unless an
// endpoint has its own waits. With the defaults, 10 s,
// 5, 24 h and 0.2, nine retries wait 10 s, 50 s, 4 m 10 s, 20 m 50 s, 1 h 44 m,
// 8 h 41 m, 24 h, 24 h and 24 h, each ±20 %: about 83 hours.
type Schedule struct {
	Initial    time.Duration // wait after the first attempt
	Multiplier float64       // growth from wait to wait, at least 1
	Max        time.Duration // longest wait, before jitter
	Jitter     float64       // share by which a wait is longer or shorter at random, 0 to 1

	own []time.Duration // instead of all above but Jitter; the last is repeated
}

// with is the schedule of an endpoint that has these waits; with none it stays as it is.
func (s Schedule) with(own []time.Duration) Schedule {
	s.own = own
	return s
}

// Delay is the wait after the failed attempt number n, 1 being the first. The
// library's value is stateful, so a fresh one is stepped n times; it never says
// stop, because the number of attempts decides that.
func (s Schedule) Delay(n int) time.Duration {
	if len(s.own) > 0 {
		wait := s.own[min(n, len(s.own))-1]
		s.Initial, s.Multiplier, s.Max, n = wait, 1, wait, 1
	}
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(s.Initial),
		backoff.WithMultiplier(s.Multiplier),
		backoff.WithMaxInterval(s.Max),
		backoff.WithRandomizationFactor(s.Jitter),
		backoff.WithMaxElapsedTime(0),
	)
	delay := b.NextBackOff()
	for range n - 1 {
		delay = b.NextBackOff()
	}
	return delay
}
