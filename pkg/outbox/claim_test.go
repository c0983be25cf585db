package outbox_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestClaimTakesFromTheLanesThatItNamesAndNoOthers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	deep, shallow, other := endpoint(t, db, target{}), endpoint(t, db, target{}), endpoint(t, db, target{})
	publish(t, db, org, 20)
	claimed, visits := ask(t, db, from(deep, 7), from(shallow, 100))
	if n := byEndpoint(claimed); n[deep] != 7 || n[shallow] != 20 || n[other] != 0 {
		t.Errorf("claimed %v", n)
	}
	if len(visits) != 2 || visits[0].Taken+visits[1].Taken != 27 || visits[0].AgainIn != 0 {
		t.Errorf("visits %+v", visits)
	}
	retries := outbox.Ask{Lane: outbox.Lane{EndpointID: other, Retry: true}, Most: 100}
	if claimed, _ := ask(t, db, retries); len(claimed) != 0 {
		t.Errorf("%d first attempts came from the lane of retries", len(claimed))
	}
}

func TestLowerBoundHidesNothingThatIsCommittedInTime(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	hook := endpoint(t, db, target{})
	publish(t, db, org, 3)
	_, visits := ask(t, db, from(hook, 3))
	bound := visits[0].Since
	if bound.IsZero() {
		t.Fatal("no lower bound")
	}
	publish(t, db, org, 2)
	next := from(hook, 10)
	next.Since = bound
	claimed, _ := ask(t, db, next)
	if len(claimed) != 2 {
		t.Errorf("%d of 2 new deliveries are above the bound", len(claimed))
	}
	exec(t, db, `UPDATE sonicus.queue SET lease_until = NULL, lease_token = NULL`)
	next.Since = claimed[0].DueAt
	if claimed, _ := ask(t, db, next); len(claimed) != 2 {
		t.Errorf("%d claimed, want what is due from the bound on", len(claimed))
	}
}

func TestRetryIsClaimedFromItsOwnLane(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{MaxRetries: 3})
	publish(t, db, organization(t, db), 1)
	settle(t, db, retrying(claim(t, db, 1)[0], 0))
	if claimed, _ := ask(t, db, from(hook, 10)); len(claimed) != 0 {
		t.Error("a retry is among the first attempts")
	}
	claimed, _ := ask(t, db, outbox.Ask{Lane: outbox.Lane{EndpointID: hook, Retry: true}, Most: 10})
	if len(claimed) != 1 || claimed[0].AttemptCount != 1 {
		t.Errorf("claimed %+v", claimed)
	}
	booksAgree(t, db)
}

func TestTakingOverAnEndedLeaseIsToldOf(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{})
	publish(t, db, organization(t, db), 1)
	if c := claim(t, db, 1)[0]; c.TookOver {
		t.Error("a first lease took over nothing")
	}
	endLeases(t, db)
	c := claim(t, db, 1)[0]
	if !c.TookOver {
		t.Error("an ended lease was taken over in silence")
	}
	settle(t, db, sent(c))
	if n := count(t, db, `sonicus.attempts WHERE took_over`); n != 1 {
		t.Error("the attempt does not say that it may be a second one")
	}
}

// claimTogether makes claims at the same time and returns what they got.
func claimTogether(t *testing.T, db *sqlx.DB, claimers, most int, lane outbox.Lane) (claimed []outbox.Claimed) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range claimers {
		wg.Go(func() {
			got, _, err := outbox.Claim(t.Context(), db, []outbox.Ask{{Lane: lane, Most: most}})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			claimed = append(claimed, got...)
		})
	}
	wg.Wait()
	return claimed
}

func TestOpenBreakerLetsOneProbeThrough(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{})
	lane := outbox.Lane{EndpointID: hook}
	publish(t, db, organization(t, db), 20)
	exec(t, db, `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now() + interval '1 hour', openings = 1`)
	claimed, visits := ask(t, db, from(hook, 10))
	if len(claimed) != 0 || visits[0].AgainIn < 30*time.Minute {
		t.Errorf("claimed %d from behind an open breaker, look again in %v", len(claimed), visits[0].AgainIn)
	}
	exec(t, db, `UPDATE sonicus.lanes SET breaker_until = now()`)
	probe := claimTogether(t, db, 8, 10, lane)
	if len(probe) != 1 {
		t.Fatalf("%d probes at once", len(probe))
	}
	if n := count(t, db, `sonicus.lanes WHERE breaker_state = 'half_open' AND breaker_until > now() + interval '10 seconds'`); n != 1 {
		t.Error("the breaker is not half open with an end")
	}
	if more := claimTogether(t, db, 2, 10, lane); len(more) != 0 {
		t.Errorf("%d more while the probe is on its way", len(more))
	}
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
		h, err := outbox.RecordHealth(t.Context(), tx, now, []outbox.Outcome{{EndpointID: hook, Successes: 1}}, outbox.BreakerPolicy{Failures: 5})
		if len(h.Changes) != 1 || h.Changes[0].To != outbox.Closed {
			t.Errorf("changes %+v", h.Changes)
		}
		return err
	})
	if more := claimTogether(t, db, 1, 19, lane); len(more) == 0 || len(more) > 4 {
		t.Errorf("%d at once for a receiver that has just come back", len(more))
	}
}

func TestRateLimitIsSharedByAllDispatchers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{})
	exec(t, db, `UPDATE sonicus.endpoints SET rate_limit = 50`)
	publish(t, db, organization(t, db), 200)
	began := time.Now()
	var claimed []outbox.Claimed
	for len(claimed) < 40 {
		claimed = append(claimed, claimTogether(t, db, 4, 50, outbox.Lane{EndpointID: hook})...)
	}
	allowed := int(50*(time.Since(began).Seconds()+0.1)) + 2
	if len(claimed) > allowed {
		t.Errorf("claimed %d where the rate allows %d", len(claimed), allowed)
	}
	starts := make([]time.Time, len(claimed))
	for i, c := range claimed {
		starts[i] = c.ClaimedAt.Add(c.StartIn)
	}
	slices.SortFunc(starts, time.Time.Compare)
	for i := 11; i < len(starts); i++ {
		if gap := starts[i].Sub(starts[i-11]); gap < 150*time.Millisecond { // 11 steps of 20 ms, less what the two clocks differ
			t.Errorf("twelve starts within %v at 50 a second", gap)
		}
	}
	if n := count(t, db, `sonicus.deliveries WHERE attempt_count > 0`); n != 0 {
		t.Errorf("waiting has spent %d attempts", n)
	}
}

func TestConcurrentClaimsNeverShareADelivery(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	var asks []outbox.Ask
	for range 4 {
		asks = append(asks, from(endpoint(t, db, target{}), 10))
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
				claimed, _, err := outbox.Claim(t.Context(), db, asks)
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
	if n := count(t, db, `sonicus.queue WHERE lease_until - clock_timestamp() BETWEEN interval '35 seconds' AND interval '45 seconds'`); n != 1 {
		t.Error("the lease of a 30 s timeout does not last 45 s")
	}
	if !c.MayStart(time.Now(), 30*time.Second) || c.MayStart(time.Now().Add(11*time.Second), 30*time.Second) {
		t.Error("an attempt may begin right after the claim, and not 11 s later")
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
