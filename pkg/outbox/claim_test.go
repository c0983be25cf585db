package outbox_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestDeepLaneDoesNotStarveOthers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	deep := endpoint(t, db, target{})
	publish(t, db, org, 300)
	shallow := map[uuid.UUID]bool{}
	for range 5 {
		shallow[endpoint(t, db, target{})] = true
	}
	publish(t, db, org, 1)

	claimed, _, err := outbox.Claim(t.Context(), db, outbox.Room{Total: 50, PerEndpoint: 10}, uuid.Nil)
	if err != nil {
		t.Fatal(err)
	}
	lanes := byEndpoint(claimed)
	if lanes[deep] != 10 {
		t.Errorf("deep lane got %d slots, want its 10", lanes[deep])
	}
	for id := range shallow {
		if lanes[id] != 1 {
			t.Errorf("shallow lane got %d deliveries, want its 1", lanes[id])
		}
	}
}

func TestClaimLeavesSlotsThatAreTaken(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	busy, full, own := endpoint(t, db, target{}), endpoint(t, db, target{}), endpoint(t, db, target{Concurrency: 3})
	publish(t, db, org, 20)
	claimed, _, err := outbox.Claim(t.Context(), db, outbox.Room{
		Total: 100, PerEndpoint: 10, InFlight: map[uuid.UUID]int{busy: 6, full: 11, own: 1},
	}, uuid.Nil)
	if err != nil {
		t.Fatal(err)
	}
	lanes := byEndpoint(claimed)
	for name, c := range map[string]struct{ got, want int }{"busy": {lanes[busy], 4}, "full": {lanes[full], 0}, "own limit": {lanes[own], 2}} {
		if c.got != c.want {
			t.Errorf("%s: claimed %d, want %d", name, c.got, c.want)
		}
	}
}

func TestRoundRobinVisitsEveryEndpoint(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	for range 10 {
		endpoint(t, db, target{})
	}
	publish(t, db, org, 10)
	cursor, visits := uuid.Nil, map[uuid.UUID]int{}
	for range 5 { // two endpoints a turn
		claimed, next, err := outbox.Claim(t.Context(), db, outbox.Room{Total: 2, PerEndpoint: 1}, cursor)
		if err != nil || len(claimed) != 2 {
			t.Fatalf("claimed %d, %v", len(claimed), err)
		}
		for _, c := range claimed {
			visits[c.EndpointID]++
		}
		cursor = next
	}
	if len(visits) != 10 {
		t.Errorf("ten slots went to %d of 10 endpoints", len(visits))
	}
	claimed, next, err := outbox.Claim(t.Context(), db, outbox.Room{Total: 2, PerEndpoint: 1}, cursor)
	if err != nil || len(claimed) != 0 || next != uuid.Nil {
		t.Errorf("after the last endpoint: %d claimed, cursor %s, %v; want a new round", len(claimed), next, err)
	}
}

func TestConcurrentClaimsNeverShareADelivery(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	for range 4 {
		endpoint(t, db, target{})
	}
	publish(t, db, org, 250)
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		all = map[uuid.UUID]int{}
	)
	for range 8 {
		wg.Go(func() {
			for {
				claimed, _, err := outbox.Claim(t.Context(), db, outbox.Room{Total: 40, PerEndpoint: 40}, uuid.Nil)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, c := range claimed {
					all[c.DeliveryID]++
				}
				done := len(all) == 1000 || err != nil
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	wg.Wait()
	for id, n := range all {
		if n != 1 {
			t.Errorf("delivery %s claimed %d times", id, n)
		}
	}
}

func TestNothingIsClaimedForEndpointsThatWait(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for name, stop := range map[string]string{
		"inactive": `UPDATE sonicus.endpoints SET is_active = false`,
		"paused":   `UPDATE sonicus.endpoints SET paused_at = now()`,
	} {
		endpoint(t, db, target{})
		publish(t, db, organization(t, db), 1)
		exec(t, db, stop)
		if n := len(claim(t, db, 10)); n != 0 {
			t.Errorf("%s: claimed %d", name, n)
		}
		if n := count(t, db, "sonicus.queue"); n != 1 {
			t.Errorf("%s: %d queued, want it kept", name, n)
		}
		exec(t, db, `UPDATE sonicus.endpoints SET is_active = true, paused_at = NULL`)
		for _, c := range claim(t, db, 10) {
			settle(t, db, sent(c))
		}
		exec(t, db, `UPDATE sonicus.endpoints SET is_active = false`)
	}
	booksAgree(t, db)
}

func TestLeaseLastsLongerThanTheTimeout(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{Timeout: 30})
	publish(t, db, organization(t, db), 1)
	c := claim(t, db, 1)[0]
	if n := count(t, db, `sonicus.queue WHERE due_at - clock_timestamp() BETWEEN interval '50 seconds' AND interval '60 seconds'`); n != 1 {
		t.Error("the lease of a 30 s timeout does not last 60 s")
	}
	if !c.MayStart(time.Now()) || c.MayStart(time.Now().Add(20*time.Second)) {
		t.Error("an attempt may begin right after the claim, and not 20 s later")
	}
}

func TestReleasedDeliveryIsDueAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{})
	publish(t, db, organization(t, db), 2)
	claimed := claim(t, db, 2)
	if err := outbox.Release(t.Context(), db, claimed[:1], 0); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Release(t.Context(), db, claimed[1:], time.Hour); err != nil {
		t.Fatal(err)
	}
	again := claim(t, db, 2)
	if len(again) != 1 || again[0].DeliveryID != claimed[0].DeliveryID || again[0].AttemptCount != 0 {
		t.Errorf("claimed again %v, want the one that was released without a wait, no attempt spent", again)
	}
	if err := outbox.Release(t.Context(), db, claimed[:1], 0); err != nil { // with the old lease
		t.Fatal(err)
	}
	if n := len(claim(t, db, 2)); n != 0 {
		t.Error("an old lease gave back what a new one holds")
	}
	booksAgree(t, db)
}

func byEndpoint(claimed []outbox.Claimed) map[uuid.UUID]int {
	n := map[uuid.UUID]int{}
	for _, c := range claimed {
		n[c.EndpointID]++
	}
	return n
}
