package e2e_test

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
)

// flaky answers one in n requests with 500.
func flaky(n int) int {
	if rand.IntN(n) == 0 {
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

func TestOrganizationsGetTheirEventsInOrder(t *testing.T) {
	t.Parallel()
	const each = 12
	svc := start(t, quick(settings{"SONICUS_BREAKER_FAILURES": "0", "SONICUS_RETRY_MAX_INTERVAL": "2s"}))
	p := newPublisher(svc)
	u := newTurns(p)
	all := organizations(6)
	stuck := all[0]
	var blocked atomic.Bool
	blocked.Store(true)
	r := newReceiver(t, func(_ int, req *http.Request) int {
		return u.during(req, func(at place) int {
			if at.organization == stuck && blocked.Load() {
				return http.StatusServiceUnavailable
			}
			return flaky(5)
		})
	})
	svc.endpoint(r.URL, map[string]any{"events": []string{"organization.*"}, "ordering": "organization", "timeout_seconds": 1, "max_retries": 50})
	victim := svc.dispatcher()
	svc.dispatcher()

	// Each organization has a writer of its own, so that the transactions mix.
	publishAll := func() {
		done := make(chan error, len(all))
		for _, id := range all {
			go func() { done <- p.publishEach(each, id) }()
		}
		for range all {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	publishAll()
	eventually(t, "the organizations beside the one whose events are refused", func() bool {
		n, _ := accepted(r.got())
		return n == (len(all)-1)*each
	})
	if n := svc.count(`sonicus.queue WHERE organization_id = $1 AND due_at IS NULL`, stuck); n != each-1 {
		t.Errorf("%d deliveries wait behind the one that is refused, want %d", n, each-1)
	}
	for _, a := range r.got() {
		if at := p.placeOf(a.header); at.organization == stuck && at.n != 0 {
			t.Errorf("event %d was sent while event 0 was refused", at.n)
		}
	}
	blocked.Store(false)
	svc.drained()

	before := len(r.got())
	held := make(chan error, 1)
	go func() {
		held <- p.publishEach(each, all...)
	}()
	eventually(t, "deliveries of both dispatchers", func() bool { return len(r.got()) >= before+each })
	victim.kill()
	cut := len(svc.leased())
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	svc.dispatcher()
	svc.drained()
	u.inOrder(t, r.got())
	n, repeated := accepted(r.got())
	if want := len(all) * each * 2; n != want {
		t.Errorf("%d of %d deliveries accepted", n, want)
	}
	if repeated > cut {
		t.Errorf("%d deliveries came again, %d were in flight at the kill", repeated, cut)
	}
	svc.verified()
}
