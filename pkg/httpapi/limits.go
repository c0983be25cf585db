package httpapi

import (
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/problem"
)

const tooManyRequests = "Too many requests with this key. Try again later, or more slowly."

// limits bounds how often each caller may ask, with a bucket for so many requests,
// which fills again in a time. It remembers those who asked lately, and nobody else.
type limits struct {
	requests int // 0: no limit
	per      time.Duration
	detail   string // what who asks too often is told

	mu            sync.Mutex
	recent, older map[string]*rate.Limiter
	begun         time.Time // when recent began to be filled
}

// generation is how long a caller is remembered at least. A bucket is full again
// before that, and then no other than a new one: forgetting it changes nothing.
func (l *limits) generation() time.Duration { return 2 * l.per }

// wait is how long a caller has to, 0 when it may go on. Only who may go on spends
// anything.
func (l *limits) wait(p access.Principal, now time.Time) time.Duration {
	if l.requests == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := l.bucket(p.Caller(), now).ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > 0 {
		turn.CancelAt(now)
	}
	return wait
}

// bucket finds a caller's own, and forgets those of two generations ago.
func (l *limits) bucket(caller string, now time.Time) *rate.Limiter {
	if l.recent == nil || now.Sub(l.begun) >= l.generation() {
		l.recent, l.older, l.begun = map[string]*rate.Limiter{}, l.recent, now
	}
	b := l.recent[caller]
	if b == nil {
		b = l.older[caller]
	}
	if b == nil {
		b = rate.NewLimiter(rate.Limit(float64(l.requests)/l.per.Seconds()), l.requests)
	}
	l.recent[caller] = b
	return b
}

// enforce refuses who asks too often, before anything is read or done for it.
func (l *limits) enforce(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if p, ok := c.Get(principalKey).(access.Principal); ok {
			if wait := l.wait(p, time.Now()); wait > 0 {
				return problem.TooMany(wait, l.detail)
			}
		}
		return next(c)
	}
}
