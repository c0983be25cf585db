package outbox_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestClaimTakesOnlyFromTheLanesAskedFor(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	hook, other := endpoint(t, db, target{MaxRetries: 3}), endpoint(t, db, target{MaxRetries: 3})
	publish(t, db, org, 2)
	for _, c := range claim(t, db, 2) { // one lane's
		settle(t, db, retrying(c, 0))
	}
	exec(t, db, `UPDATE sonicus.queue SET due_at = clock_timestamp() - interval '1 minute' WHERE retry`)
	publish(t, db, org, 3)
	unknown := uuid.New()
	for _, c := range []struct {
		name string
		ask  outbox.Ask
	}{
		{"first attempts", first(hook, 100)},
		{"retries", again(hook, 100)},
		{"another endpoint's", first(other, 100)},
		{"another endpoint's retries", again(other, 100)},
	} {
		want := count(t, db, `sonicus.queue WHERE endpoint_id = $1 AND retry = $2`, c.ask.EndpointID, c.ask.Retry)
		claimed, visits := ask(t, db, c.ask, first(unknown, 5))
		if len(claimed) != want || len(visits) != 1 || visits[0].Lane != c.ask.Lane || visits[0].Taken != want || visits[0].AgainIn != 0 {
			t.Errorf("%s: %d claimed, %+v; want %d", c.name, len(claimed), visits, want)
		}
		for _, got := range claimed {
			if got.Lane != c.ask.Lane {
				t.Errorf("%s: got one of %+v", c.name, got.Lane)
			}
		}
	}
}

func TestDeepLaneTakesNoMoreThanItWasAskedFor(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	deep := endpoint(t, db, target{})
	publish(t, db, org, 300)
	asks := []outbox.Ask{first(deep, 10)}
	for range 5 {
		asks = append(asks, first(endpoint(t, db, target{}), 10))
	}
	publish(t, db, org, 1)
	claimed, visits := ask(t, db, asks...)
	lanes := byEndpoint(claimed)
	for _, a := range asks[1:] {
		if lanes[a.EndpointID] != 1 {
			t.Errorf("shallow lane gave %d deliveries, want its 1", lanes[a.EndpointID])
		}
	}
	if lanes[deep] != 10 || len(visits) != len(asks) {
		t.Errorf("deep lane gave %d deliveries, want the 10 asked for; %d visits", lanes[deep], len(visits))
	}
	var oldest int
	for _, c := range claimed {
		if c.EndpointID == deep {
			oldest += count(t, db, `sonicus.queue WHERE endpoint_id = $1 AND lease_until IS NULL AND due_at < $2`, deep, c.DueAt)
		}
	}
	if oldest != 0 {
		t.Error("a delivery was passed over by later ones")
	}
}

func TestConcurrentClaimsNeverShareADelivery(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	org := organization(t, db)
	var asks []outbox.Ask
	for range 4 {
		asks = append(asks, first(endpoint(t, db, target{}), 10))
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
	for name, c := range map[string]struct {
		stop  string
		again bool
	}{
		"inactive":           {`UPDATE sonicus.endpoints SET is_active = false`, false},
		"paused":             {`UPDATE sonicus.endpoints SET paused_at = now()`, false},
		"deleted":            {`UPDATE sonicus.endpoints SET deleted_at = now()`, false},
		"open breaker":       {`UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now() + interval '1 minute'`, true},
		"probe on its way":   {`UPDATE sonicus.lanes SET breaker_state = 'half_open', breaker_until = now() + interval '1 minute'`, true},
		"pace used up ahead": {`WITH limited AS (UPDATE sonicus.endpoints SET rate_limit = 1) UPDATE sonicus.lanes SET paced_until = now() + interval '1 minute'`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			hook := endpoint(t, db, target{})
			publish(t, db, organization(t, db), 3)
			exec(t, db, c.stop)
			claimed, visits := ask(t, db, first(hook, 10), again(hook, 10))
			if len(claimed) != 0 || len(visits) != 2 {
				t.Fatalf("claimed %d, %d visits", len(claimed), len(visits))
			}
			for _, v := range visits {
				if waits := v.AgainIn > 50*time.Second && v.AgainIn <= time.Minute; v.Taken != 0 || !v.Since.IsZero() ||
					!v.Retry && waits != c.again || !waits && v.AgainIn != 0 {
					t.Errorf("%+v; held back for a minute: want %v", v, c.again)
				}
			}
			if n := count(t, db, `sonicus.queue WHERE lease_until IS NULL`); n != 3 {
				t.Errorf("%d wait in the queue, want all 3", n)
			}
			booksAgree(t, db)
		})
	}
}

func TestLeaseLastsLongerThanTheTimeout(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{Timeout: 30})
	publish(t, db, organization(t, db), 1)
	c := claim(t, db, 1)[0]
	if n := count(t, db, `sonicus.queue WHERE lease_until - clock_timestamp() BETWEEN interval '30 seconds' AND interval '45 seconds'`); n != 1 {
		t.Error("the lease of a 30 s timeout does not last about 45 s")
	}
	if !c.MayStart(time.Now(), 30*time.Second) || c.MayStart(time.Now().Add(12*time.Second), 30*time.Second) {
		t.Error("an attempt may begin right after the claim, and not 12 s later")
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

func TestLowerBoundIsRespectedAndReturned(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{})
	publish(t, db, organization(t, db), 5)
	// The nth is due 50, 40, … seconds ago.
	exec(t, db, `UPDATE sonicus.queue q SET due_at = statement_timestamp() - (60 - 10 * o.n) * interval '1 second'
		FROM (SELECT delivery_id, row_number() OVER (ORDER BY due_at) AS n FROM sonicus.queue) o WHERE o.delivery_id = q.delivery_id`)
	var due []time.Time
	if err := db.SelectContext(t.Context(), &due, `SELECT due_at FROM sonicus.queue ORDER BY due_at`); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		since time.Time
		most  int
		want  []time.Time
	}{
		{due[2], 2, due[2:4]},
		{due[4].Add(time.Microsecond), 9, nil},
		{due[3].Add(time.Microsecond), 9, due[4:]},
		{time.Time{}, 9, due[:2]},
		{time.Time{}, 9, nil},
	} {
		a := first(hook, c.most)
		a.Since = c.since
		claimed, visits := ask(t, db, a)
		var got []time.Time
		for _, c := range claimed {
			got = append(got, c.DueAt)
		}
		slices.SortFunc(got, time.Time.Compare)
		if !slices.EqualFunc(got, c.want, time.Time.Equal) {
			t.Errorf("from %s on: got %s, want %s", c.since, got, c.want)
		}
		var last time.Time
		if len(c.want) > 0 {
			last = c.want[len(c.want)-1]
		}
		if v := visits[0]; v.Taken != len(c.want) || !v.Since.Equal(last) {
			t.Errorf("from %s on: %+v, want to go on at %s", c.since, v, last)
		}
	}
}

// A transaction writes its due times and commits a moment later; meanwhile others
// have been claimed that became due after it.
func TestLowerBoundLeavesRoomForLateCommits(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{})
	org := organization(t, db)
	publish(t, db, org, 10)
	claimed, visits := ask(t, db, first(hook, 10))
	latest := clock(t, db).Add(-50 * time.Millisecond)
	if len(claimed) != 10 || visits[0].Since.IsZero() || visits[0].Since.After(latest) {
		t.Fatalf("%d claimed, then from %s on; want 50 ms before the claim at the latest, %s", len(claimed), visits[0].Since, latest)
	}
	for name, c := range map[string]struct {
		due  time.Time
		want int
	}{
		"50 ms late":      {latest, 1},
		"at the bound":    {visits[0].Since, 1},
		"below the bound": {visits[0].Since.Add(-time.Microsecond), 0},
	} {
		late := publish(t, db, org, 1)[0]
		exec(t, db, `UPDATE sonicus.queue SET due_at = $2 WHERE delivery_id = sonicus.delivery_id($1, $3, 1)`, late.ID, c.due, hook)
		next := first(hook, 10)
		next.Since = visits[0].Since
		if got, _ := ask(t, db, next); len(got) != c.want {
			t.Errorf("%s: claimed %d, want %d", name, len(got), c.want)
		}
		exec(t, db, `DELETE FROM sonicus.queue WHERE lease_token IS NULL`)
	}
}

// Only the end of a lease leaves open whether the receiver has been sent it.
func TestPossibleDuplicatesAreMarked(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{MaxRetries: 5})
	publish(t, db, organization(t, db), 1)
	take := func(when string, want bool) outbox.Claimed {
		t.Helper()
		claimed := claim(t, db, 10)
		if len(claimed) != 1 || claimed[0].TookOver != want {
			t.Fatalf("%s: %+v, want took over: %v", when, claimed, want)
		}
		return claimed[0]
	}
	c := take("new", false)
	if err := outbox.Release(t.Context(), db, []outbox.Claimed{c}, 0); err != nil {
		t.Fatal(err)
	}
	settle(t, db, retrying(take("given back", false), 0))
	take("retry", false)
	if n := len(claim(t, db, 10)); n != 0 {
		t.Fatal("claimed under a lease")
	}
	endLeases(t, db)
	if err := outbox.Release(t.Context(), db, []outbox.Claimed{take("lease ended", true)}, 0); err != nil {
		t.Fatal(err)
	}
	settle(t, db, retrying(take("given back after that", true), 0))
	settle(t, db, sent(take("retry after that", false)))
	var marked []int
	if err := db.SelectContext(t.Context(), &marked, `SELECT number FROM sonicus.attempts WHERE took_over`); err != nil || !slices.Equal(marked, []int{2}) {
		t.Errorf("attempts %v are marked, %v; want the second alone", marked, err)
	}
	booksAgree(t, db)
}
