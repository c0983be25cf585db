package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// Dispatchers die in the middle of their work again and again: nothing is lost,
// no limit is passed, and no two of them get into each other's way.
func TestManyDispatchersHalfOfThemKilled(t *testing.T) {
	t.Parallel()
	const concurrency, rate, batch = 32, 50, 100
	server := pgtest.NewServer(t)
	svc := startOn(t, server.URL(pgtest.Database), quick(settings{
		"SONICUS_DISPATCH_CONCURRENCY": fmt.Sprint(concurrency), "SONICUS_DISPATCH_PER_ENDPOINT": "16", "SONICUS_BREAKER_FAILURES": "0",
	}))
	p := newPublisher(svc)
	u := newTurns(p)
	slow := func(int, *http.Request) int { <-time.After(20 * time.Millisecond); return http.StatusOK }
	plain := []*receiver{newReceiver(t, slow), newReceiver(t, slow), newReceiver(t, func(int, *http.Request) int { return flaky(10) })}
	limited := newReceiver(t, nil)
	ordered := newReceiver(t, func(n int, req *http.Request) int {
		return u.during(req, func(place) int { return slow(n, req) })
	})
	common := func(more map[string]any) map[string]any {
		m := map[string]any{"events": []string{"organization.*"}, "timeout_seconds": 1, "max_retries": 50}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	for _, r := range plain {
		svc.endpoint(r.URL, common(nil))
	}
	svc.endpoint(limited.URL, common(map[string]any{"rate_limit": rate}))
	svc.endpoint(ordered.URL, common(map[string]any{"ordering": "organization"}))
	every := append([]*receiver{limited, ordered}, plain...)

	all := organizations(20)
	var living []*process
	kills, events, cut := 0, 0, map[string]int{}
	for _, round := range []struct{ dispatchers, kills int }{{2, 2}, {4, 2}, {8, 2}} {
		for range round.kills {
			var started []*process
			for len(living)+len(started) < round.dispatchers { // at once: ready or not
				started = append(started, svc.process("dispatcher"))
			}
			living = append(living, started...)
			before := arrivals(every)
			published := make(chan error, 1)
			go func() {
				published <- p.publishEach(batch/len(all), all...)
			}()
			events += batch
			for _, d := range started {
				d.field("dispatcher ready", "msg")
			}
			eventually(t, "deliveries to be under way", func() bool { return arrivals(every) >= before+batch })
			for _, victim := range living[:round.dispatchers/2] {
				victim.kill()
				kills++
			}
			living = living[round.dispatchers/2:]
			for _, id := range svc.leased() {
				cut[id]++
			}
			if err := <-published; err != nil {
				t.Fatal(err)
			}
		}
	}
	svc.drained()
	for i, r := range every {
		n, _ := accepted(r.got())
		if n != events {
			t.Errorf("receiver %d got %d of %d events", i, n, events)
		}
	}
	svc.withinDuplicates(every, cut, kills*concurrency)
	if most := busiest(limited.got()); most > rateCap(rate) {
		t.Errorf("%d requests within a second at %d per second", most, rate)
	}
	u.inOrder(t, ordered.got())
	if n := svc.count(`sonicus.deliveries WHERE status = 'sent'`); n != events*len(every) {
		t.Errorf("%d of %d deliveries sent", n, events*len(every))
	}
	svc.verified()
	log, err := os.ReadFile(server.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	if before, after, found := strings.Cut(string(log), "deadlock detected"); found {
		t.Errorf("Postgres detected a deadlock:\n%s", before[max(0, len(before)-200):]+"deadlock detected"+after[:min(len(after), 6000)])
	}
}

// withinDuplicates checks that a delivery came again only if it was in flight
// when a dispatcher was killed, and how many did.
func (s *service) withinDuplicates(receivers []*receiver, cut map[string]int, most int) {
	s.t.Helper()
	duplicates := 0
	for _, r := range receivers {
		times := map[string]int{}
		for _, a := range r.got() {
			if a.status/100 == 2 {
				times[a.header.Get("X-Sonicus-Delivery-ID")]++
			}
		}
		for id, n := range times {
			duplicates += n - 1
			if n-1 > cut[id] {
				s.t.Errorf("delivery %s was accepted %d times, but was in flight at %d kills", id, n, cut[id])
			}
		}
	}
	s.t.Logf("%d duplicates", duplicates)
	if duplicates > most {
		s.t.Errorf("%d duplicates, want at most %d", duplicates, most)
	}
}

// rateCap is how many requests a receiver may see within any second: what the
// rate allows, what may be claimed ahead, and requests that the host held up.
func rateCap(rate int) int { return rate + rate/10 + 1 }

func TestBacklogGoesOutAtTheRateOfTheReceiver(t *testing.T) {
	t.Parallel()
	n, rate := 5000, 500
	if os.Getenv("SONICUS_TEST_FULL") == "1" {
		n, rate = 100_000, 2000
	}
	s := breakerSettings()
	s["SONICUS_DISPATCH_CONCURRENCY"] = "128"
	svc := start(t, s)
	down := make(chan struct{})
	r := newReceiver(t, func(int, *http.Request) int {
		select {
		case <-down:
			return http.StatusOK
		default:
			return http.StatusServiceUnavailable
		}
	})
	id := svc.endpoint(r.URL, map[string]any{"events": []string{"organization.*"}, "rate_limit": rate, "max_retries": 50})
	p := newPublisher(svc)
	for left := n; left > 0; {
		some := min(left, 500)
		if err := p.publish(organizations(some)...); err != nil {
			t.Fatal(err)
		}
		left -= some
	}
	d := svc.process("dispatcher")
	one := svc.process("dispatcher")
	eventually(t, "the breaker to open", func() bool { return breakerOpened("closed", d, one) == 1 })
	failed := svc.attemptsSpent()
	close(down)
	for last := -1; svc.count(`sonicus.queue`) > 0; { // for as long as it goes on
		eventually(t, "further deliveries", func() bool { return len(r.got()) > last || svc.count(`sonicus.queue`) == 0 })
		last = len(r.got())
	}
	if got, repeated := accepted(r.got()); got != n || repeated != 0 {
		t.Errorf("%d of %d deliveries arrived, %d of them again", got, n, repeated)
	}
	if most := busiest(r.got()); most > rateCap(rate) {
		t.Errorf("%d requests within a second at %d per second", most, rate)
	} else {
		t.Logf("at most %d requests within a second at %d per second; %d failed before", most, rate, failed)
	}
	if s := svc.state(id); s != "closed" {
		t.Errorf("the breaker is %s after all is delivered", s)
	}
	svc.verified()
}
