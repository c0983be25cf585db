package httpapi

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
)

// someTime is the tests' clock.
var someTime = time.Date(2025, 8, 7, 16, 20, 52, 0, time.UTC)

func spend(l *limits, p access.Principal, now time.Time, n int) (allowed int) {
	for range n {
		if l.wait(p, now) == 0 {
			allowed++
		}
	}
	return allowed
}

func TestCallersHaveASecondsWorthAndThenTheirRate(t *testing.T) {
	t.Parallel()
	l, p := &limits{requests: 10, per: time.Second}, access.Principal{KeyID: uuid.New()}
	for _, tt := range []struct {
		after   time.Duration
		allowed int
	}{
		{0, 10},
		{0, 0},
		{100 * time.Millisecond, 1},
		{500 * time.Millisecond, 4},
		{99 * time.Minute, 10}, // long unused, and no more than a second's worth
		{99*time.Minute + time.Second, 10},
		{99*time.Minute + 2*time.Second + time.Millisecond, 10},
		{99*time.Minute + 2*time.Second + time.Millisecond, 0},
	} {
		if got := spend(l, p, someTime.Add(tt.after), 20); got != tt.allowed {
			t.Errorf("after %v: %d of 20, want %d", tt.after, got, tt.allowed)
		}
	}
}

func TestWaitingIsWorthIt(t *testing.T) {
	t.Parallel()
	l, p := &limits{requests: 2, per: time.Second}, access.Principal{Name: "bootstrap"}
	spend(l, p, someTime, 2)
	wait := l.wait(p, someTime)
	if wait != 500*time.Millisecond {
		t.Fatalf("told to wait %v", wait)
	}
	spend(l, p, someTime, 100) // who is refused spends nothing
	if again := l.wait(p, someTime.Add(wait)); again != 0 {
		t.Errorf("told to wait another %v", again)
	}
}

func TestOneCallersRequestsSpendNobodyElses(t *testing.T) {
	t.Parallel()
	l := &limits{requests: 1, per: time.Second}
	for _, p := range []access.Principal{
		{KeyID: uuid.New(), Name: "crm"}, {KeyID: uuid.New(), Name: "crm"}, {Name: "crm"}, {Name: "bootstrap"},
	} {
		if spend(l, p, someTime, 2) != 1 {
			t.Errorf("%+v has no bucket of its own", p)
		}
	}
}

func TestCallersOfOneKeyShareItsBucketWhateverTheirRole(t *testing.T) {
	t.Parallel()
	l := &limits{requests: 1, per: time.Second}
	spend(l, access.Principal{Name: "ada", Role: access.Viewer}, someTime, 1)
	if l.wait(access.Principal{Name: "ada", Role: access.Admin}, someTime) == 0 {
		t.Error("a second role has a second bucket")
	}
}

func TestNobodyIsForgottenBeforeTheirBucketIsFull(t *testing.T) {
	t.Parallel()
	l, p := &limits{requests: 100, per: time.Second}, access.Principal{Name: "ada"}
	allowed := 0
	for ms := range 10_000 { // twenty requests a millisecond, over five generations
		allowed += spend(l, p, someTime.Add(time.Duration(ms)*time.Millisecond), 20)
	}
	if allowed < 1_090 || allowed > 1_100 { // the bucket, and what came in ten seconds
		t.Errorf("%d were allowed", allowed)
	}
}

func TestIdleCallersAreForgotten(t *testing.T) {
	t.Parallel()
	l, now := &limits{requests: 5, per: time.Second}, someTime
	for range 100_000 {
		now = now.Add(time.Millisecond)
		l.wait(access.Principal{KeyID: uuid.New()}, now)
		if n := len(l.recent) + len(l.older); n > 2*int(l.generation()/time.Millisecond) {
			t.Fatalf("%d callers are remembered", n)
		}
	}
}

func TestTooManyRequestsAreToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.limits.requests = 1
	hasty, calm := a.createKey(t, "hasty", access.Viewer), a.createKey(t, "calm", access.Viewer)
	refused := 0
	for range 5 {
		got := a.do(t, call{method: "GET", path: organizationsPath, key: hasty})
		if got.status == http.StatusOK {
			continue
		}
		refused++
		got.problem(t, 429, "rate_limited")
		if after, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || after < 1 {
			t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
		}
		if line := a.logs.line(t, got.header.Get("X-Request-Id")); line["key_name"] != "hasty" || line["code"] != "rate_limited" {
			t.Errorf("logged as %v", line)
		}
	}
	if refused == 0 {
		t.Error("none of five was refused")
	}
	if got := a.do(t, call{method: "GET", path: organizationsPath, key: calm}); got.status != 200 {
		t.Errorf("another key: %d", got.status)
	}
	a.do(t, call{method: "GET", path: organizationsPath, key: "snk_"}).problem(t, 401, "unauthenticated")
}

func TestWithoutALimitNobodyIsRemembered(t *testing.T) {
	t.Parallel()
	l := &limits{}
	if spend(l, access.Principal{}, someTime, 1000) != 1000 || len(l.recent) != 0 {
		t.Error("limited")
	}
}
