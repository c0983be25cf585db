package e2e_test

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

// gate holds a receiver's requests until they are let through, one by one.
type gate struct {
	pass chan struct{}

	mu         sync.Mutex
	held, most int // requests at once: now, and at the busiest
}

func newGate() *gate { return &gate{pass: make(chan struct{})} }

// answer is a receiver's.
func (g *gate) answer(_ int, r *http.Request) int {
	g.count(1)
	defer g.count(-1)
	select {
	case <-g.pass:
		return http.StatusNoContent
	case <-r.Context().Done():
		return http.StatusServiceUnavailable
	}
}

func (g *gate) count(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held += n
	g.most = max(g.most, g.held)
}

func (g *gate) atOnce() (held, most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held, g.most
}

// holds waits until so many requests are held. There must never have been more.
func (g *gate) holds(t *testing.T, want int) {
	t.Helper()
	eventually(t, "requests to be held", func() bool { held, _ := g.atOnce(); return held >= want })
	g.neverMore(t, want)
}

func (g *gate) neverMore(t *testing.T, want int) {
	t.Helper()
	if _, most := g.atOnce(); most > want {
		t.Errorf("%d requests at once, want no more than %d", most, want)
	}
}

// let lets n requests through.
func (g *gate) let(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		select {
		case g.pass <- struct{}{}:
		case <-time.After(patience):
			t.Fatalf("only %d of %d requests came", i, n)
		}
	}
}

// The receiver answers every request that is let through, so without the setting
// it would be trusted with more and more at once.
func TestMaxConcurrencyHoldsForEachDispatcherAndHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	const limit, batch = 3, 20
	svc := start(t, quick(settings{"SONICUS_SHUTDOWN_GRACE": "1s"}))
	g := newGate()
	limited, other := newReceiver(t, g.answer), newReceiver(t, nil)
	for url, more := range map[string]map[string]any{limited.URL: {"max_concurrency": limit, "timeout_seconds": 30}, other.URL: {}} {
		more["events"] = []string{"organization.*"}
		svc.endpoint(url, more)
	}
	p := newPublisher(svc)

	svc.dispatcher()
	p.mustPublish(1, organizations(batch)...)
	g.holds(t, limit)
	other.await(batch)
	g.let(t, batch)
	svc.drained()
	g.neverMore(t, limit)

	p.mustPublish(1, organizations(batch)...)
	g.holds(t, limit)
	other.await(2 * batch)
	svc.dispatcher() // while the first one's three are held
	g.holds(t, 2*limit)
	g.let(t, batch)
	svc.drained()
	g.neverMore(t, 2*limit)

	for name, r := range map[string]*receiver{"limited": limited, "other": other} {
		if n, repeated := accepted(r.got()); n != 2*batch || repeated != 0 || r.begunRequests() != n {
			t.Errorf("the %s receiver accepted %d of %d deliveries, %d again, in %d requests", name, n, 2*batch, repeated, r.begunRequests())
		}
	}
	svc.verified()
}
