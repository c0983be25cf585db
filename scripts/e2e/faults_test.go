package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// load creates organizations from several clients until it has made n, and
// returns the ids that were acknowledged. A request that fails is not made again.
func (s *service) load(n, clients int) map[string]bool {
	var (
		mu   sync.Mutex
		acks = map[string]bool{}
		wg   sync.WaitGroup
	)
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range n {
			next <- i
		}
	}()
	for range clients {
		wg.Go(func() {
			for i := range next {
				status, answer, err := s.call(http.MethodPost, "/api/v1/organizations/", newOrganization(fmt.Sprintf("load%d.example", i)))
				if err != nil || status != http.StatusCreated {
					<-time.After(50 * time.Millisecond) // the database is away: do not spend the load on it
					continue
				}
				mu.Lock()
				acks[answer["id"].(string)] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return acks
}

// accounted compares the books: what was acknowledged, what receivers saw, and
// what the database says. It returns the deliveries that arrived more than once,
// and how often.
func (s *service) accounted(acks map[string]bool, receivers ...*receiver) (repeated map[string]int) {
	s.t.Helper()
	var ids []string
	if err := s.db.Select(&ids, `SELECT id FROM sonicus.organizations`); err != nil {
		s.t.Fatal(err)
	}
	exists := map[string]bool{}
	for _, id := range ids {
		exists[id] = true
	}
	repeated = map[string]int{}
	for i, r := range receivers {
		seen, deliveries := map[string]bool{}, map[string]int{}
		for _, a := range r.got() {
			if a.status/100 == 2 {
				seen[decode(s.t, a.body).Data.Organization.ID] = true
				deliveries[a.header.Get("X-Sonicus-Delivery-ID")]++
			}
		}
		for id, n := range deliveries {
			if n > 1 {
				repeated[id] = n
			}
		}
		for id := range acks {
			if !seen[id] {
				s.t.Errorf("receiver %d never got the acknowledged organization %s", i, id)
			}
		}
		for id := range seen {
			if !exists[id] {
				s.t.Errorf("receiver %d got organization %s, which does not exist", i, id)
			}
		}
	}
	if n := s.count(`sonicus.webhook_deliveries WHERE status <> 'sent'`); n != 0 {
		s.t.Errorf("%d deliveries are not sent", n)
	}
	s.booksAgree()
	return repeated
}

func TestKilledDispatcherLosesNothing(t *testing.T) {
	t.Parallel()
	const kills, concurrency = 5, 32
	svc := start(t, quick(settings{"SONICUS_DISPATCH_CONCURRENCY": fmt.Sprint(concurrency), "SONICUS_DISPATCH_PER_ENDPOINT": "16"}))
	slow := func(int, *http.Request) int { <-time.After(20 * time.Millisecond); return http.StatusOK }
	receivers := []*receiver{newReceiver(t, slow), newReceiver(t, slow), newReceiver(t, slow), newReceiver(t, slow)}
	for _, r := range receivers {
		svc.endpoint(r.URL, map[string]any{"timeout_seconds": 1, "max_retries": 20})
	}
	svc.dispatcher()
	victim := svc.dispatcher()
	done := make(chan map[string]bool)
	go func() { done <- svc.load(520, 4) }()

	atKills := map[string]int{} // how often each delivery was in flight when a dispatcher was killed
	for kill := range kills {
		target := (kill + 1) * 300
		eventually(t, "deliveries to be under way", func() bool { return arrivals(receivers) >= target })
		victim.kill()
		for _, id := range svc.leased() {
			atKills[id]++
		}
		victim = svc.dispatcher()
	}
	acks := <-done
	if len(acks) < 500 {
		t.Fatalf("only %d creates were acknowledged", len(acks))
	}
	svc.drained()
	duplicates := 0
	for id, times := range svc.accounted(acks, receivers...) {
		duplicates += times - 1
		if times-1 > atKills[id] {
			t.Errorf("delivery %s arrived %d times, but was in flight at %d kills", id, times, atKills[id])
		}
	}
	if duplicates > kills*concurrency {
		t.Errorf("%d duplicates after %d kills of %d in flight", duplicates, kills, concurrency)
	}
	if n := svc.count(`sonicus.deliveries`); n < 2000 {
		t.Errorf("%d deliveries, the load is meant to be 2,000 at least", n)
	}
}

// leased lists the deliveries that are in flight, or were when their dispatcher died.
func (s *service) leased() (ids []string) {
	s.t.Helper()
	if err := s.db.Select(&ids, `SELECT delivery_id FROM sonicus.queue WHERE lease_token IS NOT NULL`); err != nil {
		s.t.Fatal(err)
	}
	return ids
}

func arrivals(receivers []*receiver) (n int) {
	for _, r := range receivers {
		n += len(r.got())
	}
	return n
}

func TestPostgresCrashUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	if err := server.CreateDatabase(t.Context(), "crash", ""); err != nil {
		t.Fatal(err)
	}
	svc := startOn(t, server.URL("crash"), quick(settings{"SONICUS_DISPATCH_CONCURRENCY": "32", "SONICUS_DISPATCH_PER_ENDPOINT": "16"}))
	receivers := []*receiver{newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil)}
	for _, r := range receivers {
		svc.endpoint(r.URL, map[string]any{"timeout_seconds": 1, "max_retries": 20})
	}
	one, two := svc.dispatcher(), svc.dispatcher()
	done := make(chan map[string]bool)
	go func() { done <- svc.load(700, 4) }()

	for crash := range 3 {
		target := (crash + 1) * 400
		eventually(t, "deliveries to be under way", func() bool { return arrivals(receivers) >= target })
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	acks := <-done
	svc.drained()
	// The dispatchers live on with their results, and their leases outlast a
	// restart: nothing is sent again.
	if repeated := svc.accounted(acks, receivers...); len(repeated) > 0 {
		t.Errorf("%d deliveries arrived more than once: %v", len(repeated), repeated)
	}
	if len(acks) < 500 {
		t.Errorf("only %d of 700 creates were acknowledged", len(acks))
	}
	for _, p := range []*process{svc.api, one, two} {
		if !p.running() {
			t.Error("a process did not survive")
		}
	}
}

func TestDispatcherSurvivesPostgresBeingAway(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	if err := server.CreateDatabase(t.Context(), "away", ""); err != nil {
		t.Fatal(err)
	}
	svc := startOn(t, server.URL("away"), quick(nil))
	hold := make(chan struct{})
	r := newReceiver(t, func(n int, _ *http.Request) int {
		if n == 1 {
			<-hold
		}
		return http.StatusOK
	})
	svc.endpoint(r.URL, nil)
	d := svc.dispatcher()
	svc.organization("before.example")
	eventually(t, "the request to begin", func() bool { return r.begunRequests() == 1 })

	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(hold) // the answer comes while nothing can be recorded
	eventually(t, "the failure to record to be noticed", func() bool { return len(d.records("cannot record results, keeping them")) == 1 })
	if status := ready(t, "http://"+d.field("dispatcher started", "admin_address")); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz of the dispatcher answers %d without a database", status)
	}
	if status, answer, err := svc.call(http.MethodPost, "/api/v1/organizations/", newOrganization("during.example")); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("a create without a database answers %d %v %v, want 503", status, answer, err)
	}
	if err := server.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	svc.drained()
	if n := len(r.got()); n != 1 {
		t.Errorf("%d requests, want the one whose result was kept", n)
	}
	svc.organization("after.example")
	r.await(2)
	svc.drained()
	svc.booksAgree()
}

func ready(t *testing.T, admin string) int {
	t.Helper()
	res, err := http.Get(admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func TestTerminatedDispatcherDrains(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_DISPATCH_CONCURRENCY": "8", "SONICUS_DISPATCH_PER_ENDPOINT": "4"}))
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	r := newReceiver(t, func(int, *http.Request) int { <-hold; return http.StatusOK })
	t.Cleanup(release) // before the server's own Close
	svc.endpoint(r.URL, map[string]any{"timeout_seconds": 30})
	for i := range 10 {
		svc.organization(fmt.Sprintf("drain%d.example", i))
	}
	d := svc.dispatcher()
	eventually(t, "four requests in flight", func() bool { return r.begunRequests() == 4 })
	d.signal(syscall.SIGTERM)
	d.field("draining", "in_flight")
	release()
	if code := d.exitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if n := svc.count(`sonicus.queue WHERE lease_token IS NOT NULL`); n != 0 {
		t.Errorf("%d leases are left behind", n)
	}
	if sent, seen := svc.count(`sonicus.deliveries WHERE status = 'sent'`), len(r.got()); sent != 4 || seen != 4 {
		t.Errorf("%d sent, %d seen, want the 4 that were in flight", sent, seen)
	}
	svc.booksAgree()
}

func TestGracePeriodEndsAHangingAttempt(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_SHUTDOWN_GRACE": "1s"}))
	r := newReceiver(t, func(_ int, r *http.Request) int { <-r.Context().Done(); return http.StatusOK })
	svc.endpoint(r.URL, map[string]any{"timeout_seconds": 30})
	svc.organization("hang.example")
	d := svc.dispatcher()
	eventually(t, "the request to begin", func() bool { return r.begunRequests() == 1 })
	d.signal(syscall.SIGTERM)
	if code := d.exitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if n := svc.count(`sonicus.queue WHERE due_at <= clock_timestamp() AND lease_token IS NOT NULL AND lease_until <= clock_timestamp()`); n != 1 {
		t.Error("the attempt that was cut off is not due again, marked as a possible duplicate")
	}
	if n := svc.count(`sonicus.deliveries WHERE status = 'pending' AND attempt_count = 0`); n != 1 {
		t.Error("the attempt that was cut off counts against the receiver")
	}
	svc.booksAgree()
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_SHUTDOWN_GRACE": "10m"}))
	r := newReceiver(t, func(_ int, r *http.Request) int { <-r.Context().Done(); return http.StatusOK })
	svc.endpoint(r.URL, map[string]any{"timeout_seconds": 30})
	svc.organization("hang.example")
	d := svc.dispatcher()
	eventually(t, "the request to begin", func() bool { return r.begunRequests() == 1 })
	d.signal(syscall.SIGTERM)
	d.field("draining", "in_flight")
	d.signal(syscall.SIGTERM)
	if code := d.exitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if n := svc.count(`sonicus.queue WHERE lease_token IS NOT NULL AND lease_until <= clock_timestamp()`); n != 1 {
		t.Error("the lease was not given back, marked as a possible duplicate")
	}
	svc.booksAgree()
}

func TestStoppedDispatcherBeginsNothingUnderAnOldLease(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	hold := make(chan struct{})
	r := newReceiver(t, func(n int, _ *http.Request) int {
		if n == 1 {
			<-hold
		}
		return http.StatusOK
	})
	svc.endpoint(r.URL, map[string]any{"timeout_seconds": 30})
	frozen := svc.dispatcher()
	svc.organization("frozen.example")
	eventually(t, "the request to begin", func() bool { return r.begunRequests() == 1 })
	frozen.signal(syscall.SIGSTOP)
	if _, err := svc.db.Exec(`UPDATE sonicus.queue SET lease_until = clock_timestamp()`); err != nil { // as if the lease had ended
		t.Fatal(err)
	}
	heir := svc.dispatcher()
	svc.drained()
	close(hold)
	frozen.signal(syscall.SIGCONT)
	frozen.field("late result: the lease had been taken over, the receiver may have the event twice", "delivery_id")
	eventually(t, "the late result to be recorded", func() bool { return svc.count(`sonicus.late_results`) == 1 })
	if n := svc.count(`sonicus.deliveries WHERE status = 'sent' AND attempt_count = 1`); n != 1 {
		t.Error("the late result was applied")
	}
	if n := svc.count(`sonicus.attempts WHERE took_over`); n != 1 {
		t.Errorf("%d attempts are marked as taken over, want the one that was", n)
	}
	for _, c := range []struct {
		name       string
		of         *process
		late, sent int
	}{{"stopped", frozen, 1, 0}, {"one that took over", heir, 0, 1}} {
		if late, sent := c.of.metric("sonicus_late_results_total"), c.of.metric("sonicus_duplicate_sends_total"); late != c.late || sent != c.sent {
			t.Errorf("the %s dispatcher counts %d late results and %d duplicate sends, want %d and %d", c.name, late, sent, c.late, c.sent)
		}
	}
	svc.booksAgree()
}

func TestWithoutHintsThePollDelivers(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_DISPATCH_LISTEN": "false"}))
	svc.dispatcher()
	r := newReceiver(t, nil)
	svc.endpoint(r.URL, nil)
	svc.organization("polled.example")
	r.await(1)
}

func TestHintsAreQuickerThanThePoll(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_DISPATCH_POLL_INTERVAL": "1m"}))
	svc.dispatcher()
	eventually(t, "the dispatcher to listen", func() bool {
		return svc.count(`pg_stat_activity WHERE datname = current_database() AND application_name = 'sonicus-listen' AND query LIKE 'LISTEN%'`) == 1
	})
	r := newReceiver(t, nil)
	svc.endpoint(r.URL, nil)
	before := time.Now()
	svc.organization("hinted.example")
	r.await(1)
	if took := time.Since(before); took > 30*time.Second {
		t.Errorf("arrived after %s: by the poll, not by the hint", took)
	}
}

func TestTakenDomainLeavesNoSecondEvent(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	r := newReceiver(t, nil)
	svc.endpoint(r.URL, nil)
	svc.organization("taken.example")
	if status, answer, err := svc.call(http.MethodPost, "/api/v1/organizations/", newOrganization("taken.example")); err != nil || status != http.StatusConflict {
		t.Fatalf("a taken domain answers %d %v %v", status, answer, err)
	}
	if n := svc.count(`sonicus.events`); n != 1 {
		t.Errorf("%d events for one organization", n)
	}
	svc.dispatcher()
	svc.drained()
	if n := len(r.got()); n != 1 {
		t.Errorf("%d webhooks for one organization", n)
	}
	svc.booksAgree()
}

// TestNoSecretIsEverLogged looks for the markers of this test's secrets in
// everything that the processes have printed at debug level.
func TestNoSecretIsEverLogged(t *testing.T) {
	t.Parallel()
	const marker = "whsec_Q0FOQVJZLUNBTkFSWS1DQU5BUlktQ0FOQVJZ"
	svc := start(t, quick(settings{"SONICUS_LOG_LEVEL": "debug"}))
	d := svc.dispatcher()
	r := newReceiver(t, func(int, *http.Request) int { return http.StatusInternalServerError })
	svc.endpoint(r.URL, map[string]any{"secret_key": marker, "max_retries": 1})
	svc.organization("canary.example")
	svc.drained()
	_, shown, _ := svc.run("api", "config")
	_, list, err := svc.call(http.MethodGet, "/api/v1/webhooks/endpoints", nil)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	if err := svc.db.Select(&rows, `SELECT e::text FROM sonicus.endpoints e UNION ALL SELECT d::text FROM sonicus.webhook_deliveries d`); err != nil {
		t.Fatal(err)
	}
	everything := strings.Join(append(rows, svc.api.log(), d.log(), shown, fmt.Sprint(list)), "\n")
	for name, secret := range map[string]string{
		"database password": password(t, svc.url), "signing secret": marker, "its key": "Q0FOQVJZ", "its bytes": "CANARY-CANARY", "API key": svc.token, "encryption key": envValue(svc.env, "SONICUS_ENCRYPTION_KEYS"),
	} {
		if strings.Contains(everything, secret) {
			t.Errorf("the %s was printed or stored in the clear", name)
		}
	}
}

func password(t *testing.T, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := u.User.Password()
	if !ok || len(p) < 8 {
		t.Fatal("the database of this test has no password to look for")
	}
	return p
}

func envValue(env []string, name string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return "\x00 not set"
}

// A server whose processes are stopped still has a kernel that acknowledges
// packets: nothing but the programs' own patience ends the wait.
func TestFrozenPostgresHoldsNobodyForLong(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	svc := startOn(t, server.URL(pgtest.Database), quick(settings{"SONICUS_SHUTDOWN_GRACE": "1s"}))
	stopping, living := svc.dispatcher(), svc.dispatcher()
	r := newReceiver(t, nil)
	svc.endpoint(r.URL, nil)
	svc.organization("before.example")
	r.await(1)

	thaw := freeze(t, svc)
	stopping.signal(syscall.SIGTERM)
	if code := stopping.exitCode(); code != 0 && code != 1 {
		t.Errorf("exit code %d", code)
	}
	before := time.Now()
	status, answer, err := svc.call(http.MethodPost, "/api/v1/organizations/", newOrganization("during.example"))
	if took := time.Since(before); err != nil || status != http.StatusServiceUnavailable || took > time.Minute {
		t.Errorf("a create answers %d %v %v after %s, want 503 in good time", status, answer, err, took)
	}
	thaw()
	svc.organization("after.example")
	r.await(2)
	svc.drained()
	svc.booksAgree()
	if !living.running() {
		t.Error("the other dispatcher did not survive")
	}
}

// freeze stops every process of the server that serves this service's
// connections, and returns what continues them.
func freeze(t *testing.T, s *service) (thaw func()) {
	t.Helper()
	var pids []int
	if err := s.db.Select(&pids, `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	var postmaster int
	if err := s.db.Get(&postmaster, `SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)::integer`); err != nil {
		t.Fatal(err)
	}
	pids = append(pids, postmaster) // nobody new is let in
	signal := func(sig syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, sig)
		}
	}
	var once sync.Once
	thaw = func() { once.Do(func() { signal(syscall.SIGCONT) }) }
	t.Cleanup(thaw)
	signal(syscall.SIGSTOP)
	return thaw
}
