package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// place is where an event stands among those of its organization.
type place struct {
	organization uuid.UUID
	n            int // from 0
}

// publisher writes events of any number of organizations, and knows the order.
type publisher struct {
	s *service

	mu     sync.Mutex
	next   map[uuid.UUID]int
	places map[string]place // by event id
}

func newPublisher(s *service) *publisher {
	return &publisher{s: s, next: map[uuid.UUID]int{}, places: map[string]place{}}
}

// organizations makes up n ids in their order.
func organizations(n int) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// publish commits one event of each organization in one transaction. It hints at
// nothing: the poll finds them. Only one goroutine may publish for an organization.
func (p *publisher) publish(organizations ...uuid.UUID) error {
	return postgres.InTx(p.s.t.Context(), p.s.db, func(tx *postgres.Tx, now time.Time) error {
		for _, id := range organizations {
			ev, err := event.NewOrganizationCreated(postgres.NewID(now), now, event.Organization{ID: id, CreatedAt: event.Timestamp(now)}, nil)
			if err != nil {
				return err
			}
			p.mu.Lock()
			n := p.next[id]
			p.next[id]++
			p.places[ev.ID.String()] = place{id, n}
			p.mu.Unlock()
			if n > 0 {
				ev.Type = "organization.updated"
			}
			if _, err := outbox.Publish(p.s.t.Context(), tx, ev); err != nil {
				return err
			}
		}
		return nil
	})
}

// publishEach publishes n events of each organization, the nth of all in one
// transaction, in the order of their ids.
func (p *publisher) publishEach(n int, organizations ...uuid.UUID) error {
	for range n {
		if err := p.publish(organizations...); err != nil {
			return err
		}
	}
	return nil
}

// mustPublish is publishEach for the test's own goroutine.
func (p *publisher) mustPublish(n int, organizations ...uuid.UUID) {
	p.s.t.Helper()
	if err := p.publishEach(n, organizations...); err != nil {
		p.s.t.Fatal(err)
	}
}

// placeOf tells where the event of a request or an arrival stands.
func (p *publisher) placeOf(h http.Header) place {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.places[h.Get("X-Sonicus-Event-ID")]
}

// turns watches that the deliveries of an organization are made one at a time.
type turns struct {
	p *publisher

	mu       sync.Mutex
	busy     map[uuid.UUID]bool
	overlaps int
}

func newTurns(p *publisher) *turns { return &turns{p: p, busy: map[uuid.UUID]bool{}} }

// during answers a request within its turn.
func (u *turns) during(r *http.Request, answer func(place) int) int {
	at := u.p.placeOf(r.Header)
	u.mu.Lock()
	if u.busy[at.organization] {
		u.overlaps++
	}
	u.busy[at.organization] = true
	u.mu.Unlock()
	status := answer(at)
	u.mu.Lock()
	u.busy[at.organization] = false
	u.mu.Unlock()
	return status
}

// inOrder checks that a receiver accepted every event of each organization in the
// order of publishing. Only an event that a kill has repeated may come again.
func (u *turns) inOrder(t *testing.T, arrivals []arrival) {
	t.Helper()
	u.mu.Lock()
	if u.overlaps > 0 {
		t.Errorf("%d requests overlapped with another one of the same organization", u.overlaps)
	}
	u.mu.Unlock()
	last := map[uuid.UUID]int{}
	for _, a := range arrivals {
		if a.status/100 != 2 {
			continue
		}
		at := u.p.placeOf(a.header)
		before, some := last[at.organization]
		if !some {
			before = -1
		}
		if at.n != before && at.n != before+1 {
			t.Errorf("organization %s: event %d was accepted after event %d", at.organization, at.n, before)
		}
		last[at.organization] = at.n
	}
	u.p.mu.Lock()
	defer u.p.mu.Unlock()
	for id, n := range u.p.next {
		if last[id] != n-1 {
			t.Errorf("organization %s: the last event accepted is %d, want %d", id, last[id], n-1)
		}
	}
}

// accepted counts the distinct deliveries that a receiver answered with 2xx, and
// how often one came again after that.
func accepted(arrivals []arrival) (deliveries, repeated int) {
	seen := map[string]bool{}
	for _, a := range arrivals {
		if id := a.header.Get("X-Sonicus-Delivery-ID"); a.status/100 == 2 {
			if seen[id] {
				repeated++
			}
			seen[id] = true
		}
	}
	return len(seen), repeated
}

// busiest is the largest number of requests within any second.
func busiest(arrivals []arrival) (most int) {
	times := make([]time.Time, len(arrivals))
	for i, a := range arrivals {
		times[i] = a.at
	}
	slices.SortFunc(times, time.Time.Compare)
	from := 0
	for i, at := range times {
		for at.Sub(times[from]) >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// verified runs the program that checks the books.
func (s *service) verified() {
	s.t.Helper()
	if code, stdout, stderr := s.run("dispatcher", "verify"); code != 0 {
		s.t.Errorf("dispatcher verify: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// attemptsSpent sums attempt_count up.
func (s *service) attemptsSpent() (n int) {
	s.t.Helper()
	if err := s.db.Get(&n, `SELECT coalesce(sum(attempt_count), 0) FROM sonicus.deliveries`); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// state is the breaker's of an endpoint, as the API shows it.
func (s *service) state(endpoint string) string {
	s.t.Helper()
	status, answer, err := s.call(http.MethodGet, "/api/v1/webhooks/endpoints/"+endpoint, nil)
	if err != nil || status != http.StatusOK {
		s.t.Fatalf("get endpoint: %d %v %v", status, answer, err)
	}
	return fmt.Sprint(answer["breaker_state"])
}
