package outbox_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// A dispatcher that has waited is one of many; the receiver gets one request.
func TestExpiredBreakerLetsOneProbeThrough(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{MaxRetries: 3, Timeout: 10})
	publish(t, db, organization(t, db), 30)
	for _, c := range claim(t, db, 30) {
		settle(t, db, retrying(c, 0))
	}
	publish(t, db, organization(t, db), 30)
	exec(t, db, `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now() - interval '1 second', failures = 10, openings = 1`)
	for round := range 2 {
		var (
			claims sync.WaitGroup
			mu     sync.Mutex
			probes []outbox.Claimed
		)
		for range 16 {
			claims.Go(func() {
				claimed, _, err := outbox.Claim(t.Context(), db, []outbox.Ask{first(hook, 10), again(hook, 10)})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				probes = append(probes, claimed...)
			})
		}
		claims.Wait()
		if len(probes) != 1 {
			t.Fatalf("round %d: %d probes, want 1", round, len(probes))
		}
		if !probes[0].Troubled || probes[0].StartAt.After(time.Now()) {
			t.Errorf("round %d: %+v", round, probes[0])
		}
		if n := count(t, db, `sonicus.lanes WHERE breaker_state = 'half_open' AND breaker_until - now() BETWEEN interval '15 seconds' AND interval '25 seconds'`); n != 1 {
			t.Errorf("round %d: the breaker is not half open until the end of the lease", round)
		}
		if n := count(t, db, `sonicus.queue WHERE lease_until IS NOT NULL`); n != round+1 {
			t.Errorf("round %d: %d leases", round, n)
		}
		// The prober dies, and its time passes.
		exec(t, db, `UPDATE sonicus.lanes SET breaker_until = now() - interval '1 millisecond'`)
	}
	booksAgree(t, db)
}

func TestBreakerIsOfOneEndpointAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	bad, good := endpoint(t, db, target{}), endpoint(t, db, target{})
	publish(t, db, organization(t, db), 5)
	exec(t, db, `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now() + interval '1 hour' WHERE endpoint_id = $1`, bad)
	claimed, visits := ask(t, db, first(bad, 10), first(good, 10))
	if lanes := byEndpoint(claimed); lanes[bad] != 0 || lanes[good] != 5 {
		t.Errorf("claimed %v", lanes)
	}
	for _, v := range visits {
		if (v.AgainIn > 0) != (v.EndpointID == bad) {
			t.Errorf("%+v", v)
		}
	}
}

// All dispatchers share one limit, however they race for it.
func TestDispatchersTogetherKeepTheRateLimit(t *testing.T) {
	t.Parallel()
	const rate, deliveries, took = 50, 400, 1500 * time.Millisecond
	db := pgtest.New(t)
	hook := endpoint(t, db, target{})
	exec(t, db, `UPDATE sonicus.endpoints SET rate_limit = $1`, rate)
	publish(t, db, organization(t, db), deliveries)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var (
		dispatchers sync.WaitGroup
		mu          sync.Mutex
		permits     int
	)
	began := clock(t, db)
	end := time.Now().Add(took)
	for range 2 {
		dispatchers.Go(func() {
			for time.Now().Before(end) {
				claimed, visits, err := outbox.Claim(ctx, db, []outbox.Ask{first(hook, 20)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				permits += len(claimed)
				mu.Unlock()
				<-time.After(min(visits[0].AgainIn, 20*time.Millisecond))
			}
		})
	}
	dispatchers.Wait()
	elapsed := clock(t, db).Sub(began)
	if most := rate*elapsed.Seconds() + rate*0.1 + 1; float64(permits) > most {
		t.Errorf("%d permits in %s, at most %.0f may be given", permits, elapsed, most)
	}
	if permits < rate/2 {
		t.Errorf("%d permits in %s, the limit starves the endpoint", permits, elapsed)
	}
	var paced time.Time // all permits follow one another evenly up to here
	if err := db.GetContext(t.Context(), &paced, `SELECT paced_until FROM sonicus.lanes`); err != nil {
		t.Fatal(err)
	}
	if least := began.Add(time.Duration(permits) * time.Second / rate); paced.Before(least.Add(-time.Millisecond)) {
		t.Errorf("%d permits end at %s, want %s or later", permits, paced, least)
	}
	if n := count(t, db, `sonicus.deliveries WHERE attempt_count = 0 AND status = 'pending'`); n != deliveries {
		t.Errorf("%d of %d deliveries have spent no attempt", n, deliveries)
	}
	if n := count(t, db, `sonicus.queue WHERE lease_until IS NOT NULL`); n != permits {
		t.Errorf("%d leases for %d permits", n, permits)
	}
	booksAgree(t, db)
}

func TestPacedDeliveriesStartEvenlySpaced(t *testing.T) {
	t.Parallel()
	const rate = 100
	db := pgtest.New(t)
	hook := endpoint(t, db, target{MaxRetries: 1})
	exec(t, db, `UPDATE sonicus.endpoints SET rate_limit = $1`, rate)
	org := organization(t, db)
	publish(t, db, org, 30)
	exec(t, db, `UPDATE sonicus.queue SET retry = true WHERE delivery_id IN (SELECT delivery_id FROM sonicus.queue ORDER BY due_at LIMIT 5)`)
	claimed, visits := ask(t, db, first(hook, 30), again(hook, 30)) // both lanes share the limit
	if len(claimed) < 10 || len(claimed) > 11 {
		t.Fatalf("%d claimed at once, want what starts within 100 ms", len(claimed))
	}
	slices.SortFunc(claimed, func(a, b outbox.Claimed) int { return a.StartAt.Compare(b.StartAt) })
	for i, c := range claimed {
		if off := c.StartAt.Sub(claimed[0].StartAt) - time.Duration(i)*time.Second/rate; off.Abs() > time.Millisecond {
			t.Errorf("number %d starts %s from its turn", i, off)
		}
		if i > 0 && c.DueAt.Before(claimed[i-1].DueAt) {
			t.Errorf("number %d was due before its predecessor", i)
		}
	}
	want := time.Duration(len(claimed)) * time.Second / rate
	for _, v := range visits {
		if (v.AgainIn - want).Abs() > time.Millisecond {
			t.Errorf("%+v: again in %s, want %s", v.Lane, v.AgainIn, want)
		}
	}
}

func TestPaceGrowsWhileAnEndpointRecovers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{})
	publish(t, db, organization(t, db), 400)
	recovering := func(since float64) int {
		exec(t, db, `UPDATE sonicus.lanes SET recovering_since = clock_timestamp() - $1 * interval '1 second', paced_until = NULL`, since)
		claimed, _ := ask(t, db, first(hook, 100))
		if err := outbox.Release(t.Context(), db, claimed, 0); err != nil {
			t.Fatal(err)
		}
		return len(claimed)
	}
	last := 0
	for _, since := range []float64{0, 3, 6} {
		n := recovering(since)
		if n <= last || n > 90 {
			t.Errorf("%v s after the breaker closed: %d at once, %d before", since, n, last)
		}
		last = n
	}
	if n := count(t, db, `sonicus.lanes WHERE recovering_since IS NOT NULL AND paced_until IS NOT NULL`); n != 1 {
		t.Error("forgot that the endpoint recovers")
	}
	exec(t, db, `UPDATE sonicus.endpoints SET rate_limit = 5`)
	if n := recovering(6); n != 1 {
		t.Errorf("%d at once, the endpoint's own limit allows 1", n)
	}
	exec(t, db, `UPDATE sonicus.endpoints SET rate_limit = NULL`)
	if n := recovering(10.1); n != 100 {
		t.Errorf("recovered, but %d at once", n)
	}
	if n := count(t, db, `sonicus.lanes WHERE recovering_since IS NULL AND paced_until IS NULL`); n != 1 {
		t.Error("the end of the recovery is not noted")
	}
}

// clock is the database's.
func clock(t *testing.T, db *sqlx.DB) (at time.Time) {
	t.Helper()
	if err := db.GetContext(t.Context(), &at, `SELECT clock_timestamp()`); err != nil {
		t.Fatal(err)
	}
	return at
}

// In a world where everything else waits, an endpoint goes on.
func TestPaceOfOneEndpointHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	paced, free := endpoint(t, db, target{}), endpoint(t, db, target{})
	exec(t, db, `UPDATE sonicus.endpoints SET rate_limit = 1 WHERE id = $1`, paced)
	publish(t, db, organization(t, db), 20)
	locked := begin(t, db) // another dispatcher is at the limit just now
	if _, err := locked.ExecContext(t.Context(), `SELECT FROM sonicus.lanes WHERE endpoint_id = $1 FOR NO KEY UPDATE`, paced); err != nil {
		t.Fatal(err)
	}
	claimed, visits := ask(t, db, first(paced, 20), first(free, 20))
	if lanes := byEndpoint(claimed); lanes[paced] != 0 || lanes[free] != 20 {
		t.Errorf("claimed %v", lanes)
	}
	for _, v := range visits {
		if (v.AgainIn > 0) != (v.EndpointID == paced) {
			t.Errorf("%+v", v)
		}
	}
}
