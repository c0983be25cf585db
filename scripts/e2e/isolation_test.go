package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// publish commits n events of an organization, one transaction each, and returns
// their ids in order.
func (s *service) publish(organization string, n int) (ids []string) {
	s.t.Helper()
	org := uuid.MustParse(organization)
	for range n {
		err := postgres.InTx(s.t.Context(), s.db, func(tx *postgres.Tx, now time.Time) error {
			ev, err := event.NewOrganizationCreated(postgres.NewID(now), now, event.Organization{ID: org}, nil)
			if err != nil {
				return err
			}
			ev.Type = "organization.changed" // an organization has one organization.created
			ids = append(ids, ev.ID.String())
			_, err = outbox.Publish(s.t.Context(), tx, ev)
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return ids
}

// queued writes n due deliveries to the service's only endpoint, as fast as SQL can.
func (s *service) queued(n int) {
	s.t.Helper()
	for _, statement := range []string{
		`INSERT INTO sonicus.events (id, event_type, payload, fanout, created_at)
		 SELECT overlay(sonicus.id_floor(clock_timestamp())::text PLACING lpad(to_hex(n), 12, '0') FROM 25)::uuid, 'organization.changed', '{}', 1, now()
		 FROM generate_series(1, $1::int) n`,
		`INSERT INTO sonicus.deliveries (id, event_id, endpoint_id, event_type, max_attempts, created_at)
		 SELECT sonicus.delivery_id(v.id, e.id, 1), v.id, e.id, v.event_type, 50, now() FROM sonicus.events v, sonicus.endpoints e WHERE $1::int > 0`,
		`INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at)
		 SELECT id, endpoint_id, clock_timestamp() FROM sonicus.deliveries WHERE $1::int > 0`,
	} {
		if _, err := s.db.ExecContext(s.t.Context(), statement, n); err != nil {
			s.t.Fatal(err)
		}
	}
}

// attemptsAgree says whether every request that a receiver saw is an attempt, and
// the reverse.
func (s *service) attemptsAgree(r *receiver) {
	s.t.Helper()
	var spent int
	if err := s.db.GetContext(s.t.Context(), &spent, `SELECT coalesce(sum(attempt_count), 0) FROM sonicus.deliveries`); err != nil {
		s.t.Fatal(err)
	}
	if seen := len(r.got()); seen != spent {
		s.t.Errorf("%d attempts were spent on %d requests", spent, seen)
	}
}

func TestDeadReceiverGetsProbesOnlyAndRecoversByItself(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_BREAKER_FAILURES": "5", "SONICUS_BREAKER_FIRST_OPEN": "200ms", "SONICUS_BREAKER_MAX_OPEN": "400ms"}))
	var up atomic.Bool
	r := newReceiver(t, func(int, *http.Request) int {
		if up.Load() {
			return http.StatusNoContent
		}
		return http.StatusServiceUnavailable
	})
	svc.endpoint(r.URL, map[string]any{"max_retries": 50})
	dispatcher := svc.dispatcher()
	svc.load(30, 4)

	opened := func() int { return strings.Count(dispatcher.log(), `"to":"open"`) }
	eventually(t, "the breaker to open again after probes", func() bool { return opened() >= 4 })
	first, err := time.Parse(time.RFC3339Nano, dispatcher.field("circuit breaker", "time"))
	if err != nil {
		t.Fatal(err)
	}
	late, probes := 0, opened()
	for _, a := range r.got() {
		if a.at.After(first.Add(100 * time.Millisecond)) { // those before had begun when it opened
			late++
		}
	}
	if late > probes {
		t.Errorf("%d requests at a dead receiver after its breaker opened, which let %d probes through", late, probes)
	}
	svc.attemptsAgree(r)
	if n := svc.count(`sonicus.webhook_deliveries WHERE status = 'failed'`); n != 0 {
		t.Errorf("%d deliveries were given up", n)
	}
	up.Store(true)
	svc.drained()
	if n := svc.count(`sonicus.webhook_deliveries WHERE status = 'sent'`); n != 30 {
		t.Errorf("%d of 30 sent after the recovery", n)
	}
	if n := svc.count(`sonicus.webhook_endpoints WHERE breaker_state = 'closed' AND failing_since IS NULL`); n != 1 {
		t.Error("the breaker is not closed")
	}
	svc.attemptsAgree(r)
	svc.booksAgree()
}

func TestEndpointThatOnlyFailsIsSwitchedOffAndTellsOfIt(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_BREAKER_FAILURES": "0", "SONICUS_DISABLE_AFTER": "500ms"}))
	failing := newReceiver(t, func(int, *http.Request) int { return http.StatusInternalServerError })
	gone := newReceiver(t, func(int, *http.Request) int { return http.StatusGone })
	operator := newReceiver(t, nil)
	first := svc.endpoint(failing.URL+"?token=hidden", map[string]any{"max_retries": 50})
	second := svc.endpoint(gone.URL, nil)
	svc.endpoint(operator.URL, map[string]any{"events": []string{"webhook.*"}})
	svc.dispatcher()
	svc.load(3, 1)

	told := map[string]string{}
	for _, a := range operator.await(2) {
		a.verify(t)
		var body struct {
			EventType string `json:"event_type"`
			Data      struct {
				Endpoint struct {
					ID     string `json:"id"`
					URL    string `json:"url"`
					Reason string `json:"disabled_reason"`
				} `json:"endpoint"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.EventType != "webhook.endpoint.disabled" {
			t.Fatalf("the operator got %s (%v)", a.body, err)
		}
		if strings.Contains(a.body, "hidden") {
			t.Errorf("the query of the URL is told: %s", a.body)
		}
		told[body.Data.Endpoint.ID] = body.Data.Endpoint.Reason
	}
	if told[first] != "failing" || told[second] != "gone" {
		t.Errorf("told of %v, want %s failing and %s gone", told, first, second)
	}
	if n := svc.count(`sonicus.webhook_endpoints WHERE NOT is_active AND disabled_reason IN ('failing', 'gone')`); n != 2 {
		t.Errorf("%d of 2 endpoints are off", n)
	}
	if n := svc.count(`sonicus.queue WHERE endpoint_id = $1`, first); n != 3 {
		t.Errorf("%d of 3 deliveries are kept", n)
	}
	svc.booksAgree()
}

// inOrder fails the test unless every event was accepted in the order of
// publishing within its organization; repetitions of one after a kill are allowed.
func inOrder(t *testing.T, accepted []string, published map[string][]string) {
	t.Helper()
	for org, ids := range published {
		var got []string
		for _, id := range accepted {
			if slices.Contains(ids, id) && (len(got) == 0 || got[len(got)-1] != id) {
				got = append(got, id)
			}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("organization %s: accepted %v, published %v", org, got, ids)
		}
	}
}

func TestDeliveriesOfAnOrganizationKeepTheirOrder(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_RETRY_INITIAL": "50ms", "SONICUS_BREAKER_FAILURES": "0"}))
	var mu sync.Mutex
	var accepted []string
	busy := map[string]int{} // requests in flight by organization
	r := newReceiver(t, func(_ int, req *http.Request) int { return http.StatusNoContent })
	r.answer = func(_ int, req *http.Request) int {
		id := req.Header.Get("webhook-id")
		org := svc.organizationOf(id)
		mu.Lock()
		busy[org]++
		if busy[org] > 1 {
			t.Errorf("two deliveries of organization %s at once", org)
		}
		mu.Unlock()
		fails := rand.IntN(3) == 0
		mu.Lock()
		defer mu.Unlock()
		busy[org]--
		if fails {
			return http.StatusBadGateway
		}
		accepted = append(accepted, id)
		return http.StatusNoContent
	}
	svc.endpoint(r.URL, map[string]any{"events": []string{"organization.*"}, "ordering": "organization", "max_retries": 50})
	published := map[string][]string{}
	svc.dispatcher()
	svc.dispatcher()
	for i := range 5 {
		org := svc.organization(fmt.Sprintf("order-%d.example", i))
		published[org] = append([]string{svc.createdEvent(org)}, svc.publish(org, 8)...)
	}
	svc.drained()
	inOrder(t, accepted, published)
	svc.booksAgree()
}

// organizationOf looks an event up.
func (s *service) organizationOf(event string) (org string) {
	if err := s.db.GetContext(s.t.Context(), &org, `SELECT organization_id::text FROM sonicus.events WHERE id = $1`, event); err != nil {
		s.t.Error(err)
	}
	return org
}

func (s *service) createdEvent(org string) (id string) {
	s.t.Helper()
	if err := s.db.GetContext(s.t.Context(), &id, `SELECT id::text FROM sonicus.events WHERE organization_id = $1`, org); err != nil {
		s.t.Fatal(err)
	}
	return id
}

// withinRate fails the test when more requests than allowed began within any
// second, as the receiver saw them.
func withinRate(t *testing.T, arrivals []arrival, allowed int) {
	t.Helper()
	times := make([]time.Time, len(arrivals))
	for i, a := range arrivals {
		times[i] = a.at
	}
	slices.SortFunc(times, time.Time.Compare)
	for i := allowed; i < len(times); i++ {
		if times[i].Sub(times[i-allowed]) < time.Second {
			t.Errorf("more than %d requests within %v", allowed, times[i].Sub(times[i-allowed]))
			return
		}
	}
}

// A paced request is late when the machine is busy and then close to the next, so
// a second may hold a tenth more than the rate.
func TestReceiverThatComesBackIsNotStampeded(t *testing.T) {
	t.Parallel()
	total, rate := 600, 200
	if os.Getenv("SONICUS_TEST_FULL") != "" {
		total, rate = 100_000, 2000
	}
	svc := start(t, settings{"SONICUS_DISPATCH_POLL_INTERVAL": "100ms"})
	r := newReceiver(t, nil)
	svc.endpoint(r.URL, map[string]any{"rate_limit": rate})
	svc.queued(total)
	svc.dispatcher()
	svc.dispatcher()
	svc.drained()
	got := r.got()
	if len(got) != total {
		t.Errorf("%d requests for %d deliveries", len(got), total)
	}
	withinRate(t, got, rate+rate/10)
	svc.attemptsAgree(r)
}

func TestManyDispatchersThatAreKilledAgainAndAgain(t *testing.T) {
	server := pgtest.NewServer(t)
	svc := startOn(t, server.URL(pgtest.Database), quick(settings{"SONICUS_DISPATCH_CONCURRENCY": "16", "SONICUS_BREAKER_FAILURES": "0"}))
	var plain []*receiver
	for range 3 {
		plain = append(plain, newReceiver(t, nil))
		svc.endpoint(plain[len(plain)-1].URL, map[string]any{"timeout_seconds": 1, "max_retries": 50})
	}
	var mu sync.Mutex
	var accepted []string
	ordered := newReceiver(t, func(_ int, req *http.Request) int {
		mu.Lock()
		defer mu.Unlock()
		accepted = append(accepted, req.Header.Get("webhook-id"))
		return http.StatusNoContent
	})
	svc.endpoint(ordered.URL, map[string]any{"events": []string{"organization.*"}, "ordering": "organization", "timeout_seconds": 1, "max_retries": 50})
	limited := newReceiver(t, nil)
	svc.endpoint(limited.URL, map[string]any{"rate_limit": 100, "timeout_seconds": 1, "max_retries": 50})

	published := map[string][]string{}
	for i := range 4 {
		org := svc.organization(fmt.Sprintf("kill-%d.example", i))
		published[org] = append([]string{svc.createdEvent(org)}, svc.publish(org, 5)...)
	}
	acks := map[string]bool{}
	kills := 0
	for _, n := range []int{2, 4, 8} {
		begun := plain[0].begunRequests() // survivors of the last round begin at once
		for i := range 60 {
			acks[svc.organization(fmt.Sprintf("of-%d-%d.example", n, i))] = true
		}
		var all []*process
		for range n {
			all = append(all, svc.process("dispatcher"))
		}
		eventually(t, "the dispatchers to be at work", func() bool { return plain[0].begunRequests() > begun+5 })
		for _, p := range all[:n/2] {
			p.kill()
			kills++
		}
	}
	svc.drained()
	svc.accounted(acks, plain...)
	extra := 0
	for _, r := range append(plain, ordered, limited) {
		seen := map[string]int{}
		for _, a := range r.got() {
			if seen[a.header.Get("webhook-id")]++; seen[a.header.Get("webhook-id")] > 1 {
				extra++
			}
		}
	}
	if extra > 16*kills {
		t.Errorf("%d repeated requests after %d kills of dispatchers with 16 slots", extra, kills)
	}
	inOrder(t, accepted, published)
	withinRate(t, limited.got(), 100+100/10+2)
	svc.booksAgree()
	log, err := os.ReadFile(server.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), "deadlock detected") {
		t.Error("Postgres saw a deadlock")
	}
}

func TestLostListenerOnlyMeansThePollInterval(t *testing.T) {
	t.Parallel()
	svc := start(t, settings{"SONICUS_DISPATCH_POLL_INTERVAL": "200ms"})
	r := newReceiver(t, nil)
	svc.endpoint(r.URL, nil)
	svc.dispatcher()
	for i := range 5 {
		if _, err := svc.db.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'sonicus-listen'`); err != nil {
			t.Fatal(err)
		}
		svc.organization(fmt.Sprintf("deaf-%d.example", i))
		r.await(i + 1)
	}
}

func TestMetricsTellOfPossibleDuplicates(t *testing.T) {
	t.Parallel()
	svc := start(t, nil)
	admin := svc.dispatcher().field("dispatcher started", "admin_address")
	res, err := http.Get("http://" + admin + "/metrics") //nolint:noctx // a test against its own process
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"sonicus_late_results_total 0", "sonicus_duplicate_sends_total 0"} {
		if !strings.Contains(string(body), line) {
			t.Errorf("no %q among the metrics", line)
		}
	}
}
