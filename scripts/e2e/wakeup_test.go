package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// listener is where a dispatcher listens for hints.
const listener = `pg_stat_activity WHERE application_name = 'sonicus-listen' AND datname = current_database()`

func TestDeliveriesArriveWhileTheListenerIsCutOff(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	r := newReceiver(t, nil)
	svc.endpoint(r.URL, nil)
	d := svc.dispatcher()
	for i := range 5 {
		eventually(t, "the dispatcher to listen", func() bool { return svc.count(listener+` AND query LIKE 'LISTEN%'`) == 1 })
		var cut int
		if err := svc.db.Get(&cut, `SELECT count(*) FROM (SELECT pg_terminate_backend(pid, 5000) AS ended FROM `+listener+`) c WHERE ended`); err != nil {
			t.Fatal(err)
		}
		if cut != 1 {
			t.Errorf("%d listeners were cut off, want one", cut)
		}
		svc.organization(fmt.Sprintf("cut%d.example", i))
		r.await(i + 1)
	}
	svc.drained()
	if n := len(r.got()); n != 5 {
		t.Errorf("%d requests, want 5", n)
	}
	if !d.running() {
		t.Error("the dispatcher did not survive")
	}
	svc.verified()
}

// A connection that is lost without a word still takes every packet: only its
// silence tells.
func TestListenerThatHearsNothingAnyMoreIsReplaced(t *testing.T) {
	t.Parallel()
	const documented = 30 * time.Second // until a Postgres that is cut off without a word is given up
	svc := start(t, quick(settings{"SONICUS_DISPATCH_POLL_INTERVAL": "1s"}))
	direct, err := url.Parse(svc.url)
	if err != nil {
		t.Fatal(err)
	}
	between := newProxy(t, direct.Host)
	direct.Host = between.address()
	svc.env = append(svc.env, "SONICUS_DATABASE_DIRECT_URL="+direct.String())
	d := svc.dispatcher()
	r := newReceiver(t, nil)
	id := svc.endpoint(r.URL, nil)
	const listening = "LISTEN" // is what the server answers
	eventually(t, "the dispatcher to listen", func() bool { return between.passed(listening) == 1 })
	svc.organization("heard.example")
	eventually(t, "the hint to be passed on", func() bool { return between.passed(id) == 1 })
	r.await(1)

	between.swallow()
	begin := time.Now()
	svc.organization("unheard.example")
	eventually(t, "the hint to be lost", func() bool { return between.lost(id) == 1 })
	r.await(2)
	within(t, documented-time.Since(begin), "the dispatcher to notice", func() bool {
		return len(d.records("hints interrupted, polling goes on")) > 0
	})
	eventually(t, "the dispatcher to listen again", func() bool { return between.passed(listening) == 2 })
	svc.organization("heard-again.example")
	eventually(t, "the hint to be passed on", func() bool { return between.passed(id) == 2 })
	r.await(3)
	svc.drained()
	if n := len(r.got()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	svc.verified()
}

func TestPollFindsRetriesAndOrderedDeliveriesWithoutHints(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_DISPATCH_LISTEN": "false", "SONICUS_BREAKER_FAILURES": "0"}))
	p := newPublisher(svc)
	u := newTurns(p)
	plain := newReceiver(t, func(n int, _ *http.Request) int { return []int{http.StatusInternalServerError, http.StatusOK}[n%2] })
	ordered := newReceiver(t, func(_ int, r *http.Request) int { return u.during(r, func(place) int { return flaky(3) }) })
	svc.endpoint(plain.URL, map[string]any{"events": []string{"organization.*"}, "max_retries": 50})
	svc.endpoint(ordered.URL, map[string]any{"events": []string{"organization.*"}, "max_retries": 50, "ordering": "organization"})
	svc.dispatcher()
	svc.dispatcher()
	p.mustPublish(8, organizations(3)...)
	svc.drained()
	if n := svc.count(listener); n != 0 {
		t.Errorf("%d listeners, although none is wanted", n)
	}
	if n, _ := accepted(plain.got()); n != 24 {
		t.Errorf("%d of 24 deliveries accepted", n)
	}
	u.inOrder(t, ordered.got())
	svc.verified()
}

// metric reads one of a program's counters.
func (p *process) metric(name string) int {
	p.t.Helper()
	started := map[string]string{"api": "api ready", "dispatcher": "dispatcher started"}[p.name]
	res, err := http.Get("http://" + p.field(started, "admin_address") + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		p.t.Fatalf("metrics: %d %v", res.StatusCode, err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
	}
	p.t.Fatalf("no %s among the metrics:\n%s", name, body)
	return 0
}
