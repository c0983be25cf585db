package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// inFlight is how many deliveries a dispatcher of breakerSettings has claimed and
// not recorded: when a breaker opens, so many requests may have been made beyond
// those that opened it.
const inFlight = 8

// breakerSettings open soon and probe often.
func breakerSettings() settings {
	return quick(settings{"SONICUS_DISPATCH_CONCURRENCY": fmt.Sprint(inFlight), "SONICUS_BREAKER_FIRST_OPEN": "200ms", "SONICUS_BREAKER_MAX_OPEN": "1s", "SONICUS_DISABLE_AFTER": "0"})
}

// breakerOpened counts how often dispatchers have opened breakers: at first, or
// again after a probe.
func breakerOpened(from string, dispatchers ...*process) (n int) {
	for _, d := range dispatchers {
		for _, l := range d.records("circuit breaker") {
			if l["to"] == "open" && l["from"] == from {
				n++
			}
		}
	}
	return n
}

func TestOpenBreakerLetsOnlyProbesThrough(t *testing.T) {
	t.Parallel()
	const deliveries, threshold = 60, 3
	svc := start(t, breakerSettings())
	var well atomic.Bool
	r := newReceiver(t, func(int, *http.Request) int {
		if well.Load() {
			return http.StatusNoContent
		}
		return http.StatusServiceUnavailable
	})
	id := svc.endpoint(r.URL, map[string]any{"events": []string{"organization.*"}, "max_retries": 50, "breaker_failures": threshold})
	one, two := svc.dispatcher(), svc.dispatcher()
	newPublisher(svc).mustPublish(1, organizations(deliveries)...)
	eventually(t, "the breaker to open", func() bool { return breakerOpened("closed", one, two) == 1 })
	eventually(t, "the attempts of before to end", func() bool {
		return svc.count(`sonicus.queue q, sonicus.lanes l WHERE l.endpoint_id = $1 AND (q.lease_token IS NOT NULL OR l.breaker_state <> 'open')`, id) == 0
	})
	// A probe's request is counted before its failure, so the one under way may be
	// missing among the failures.
	failed := breakerOpened("half_open", one, two)
	before := r.begunRequests()
	if before > threshold+2*inFlight+failed {
		t.Errorf("%d requests and %d probes until the breaker was open, the threshold is %d", before, failed, threshold)
	}
	eventually(t, "more probes", func() bool { return breakerOpened("half_open", one, two) >= failed+4 })
	if s := svc.state(id); s != "open" && s != "half_open" {
		t.Errorf("the breaker is %s", s)
	}
	all := r.got()
	during := r.begunRequests() - before
	if probes := breakerOpened("half_open", one, two) - failed; during > probes+1 {
		t.Errorf("%d requests with the breaker open, and %d probes", during, probes)
	}
	for i := before + 1; i < len(all); i++ {
		if gap := all[i].at.Sub(all[i-1].at); gap < 400*time.Millisecond { // the second wait, or a longer one
			t.Errorf("a probe came %s after the last one", gap)
		}
	}

	well.Store(true)
	svc.drained()
	if n := svc.attemptsSpent(); n != len(r.got()) {
		t.Errorf("%d attempts are spent, the receiver saw %d requests", n, len(r.got()))
	}
	if n := svc.count(`sonicus.deliveries WHERE status = 'sent'`); n != deliveries {
		t.Errorf("%d of %d deliveries sent", n, deliveries)
	}
	if s := svc.state(id); s != "closed" {
		t.Errorf("the breaker is %s after all is delivered", s)
	}
	svc.verified()
}

func TestReceiverThatRefusesConnectionsRecoversByItself(t *testing.T) {
	t.Parallel()
	const deliveries, threshold = 30, 5
	s := breakerSettings()
	s["SONICUS_BREAKER_FAILURES"] = "5"
	svc := start(t, s)
	port := freePort(t)
	id := svc.endpoint("http://127.0.0.1:"+port+"/", map[string]any{"events": []string{"organization.*"}, "max_retries": 50})
	d := svc.dispatcher()
	newPublisher(svc).mustPublish(1, organizations(deliveries)...)
	eventually(t, "some probes", func() bool { return breakerOpened("half_open", d) >= 3 })
	failed := svc.attemptsSpent()
	if probes := breakerOpened("half_open", d); failed > threshold+inFlight+probes {
		t.Errorf("%d attempts are spent, the threshold is %d, and there were %d probes", failed, threshold, probes)
	}
	if n := svc.count(`sonicus.attempts WHERE reason <> 'connection_refused'`); n != 0 {
		t.Errorf("%d attempts failed otherwise", n)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, answer: func(int, *http.Request) int { return http.StatusOK }}
	r.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: r}}
	r.Start()
	t.Cleanup(r.Close)
	svc.drained()
	if n := len(r.got()); n != deliveries {
		t.Errorf("%d requests to the receiver that accepts all, want one for each of %d deliveries", n, deliveries)
	}
	if n := svc.count(`sonicus.deliveries WHERE status = 'sent'`); n != deliveries {
		t.Errorf("%d of %d deliveries sent", n, deliveries)
	}
	if s := svc.state(id); s != "closed" {
		t.Errorf("the breaker is %s after all is delivered", s)
	}
	svc.verified()
}
