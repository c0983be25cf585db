package outbox_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

var policy = outbox.BreakerPolicy{Failures: 3, FirstOpen: 5 * time.Second, MaxOpen: time.Minute, DisableAfter: time.Hour}

func record(t *testing.T, db *sqlx.DB, outcomes ...outbox.Outcome) (h outbox.Health, at time.Time) {
	t.Helper()
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) (err error) {
		at = now
		h, err = outbox.RecordHealth(t.Context(), tx, now, outcomes, policy)
		return err
	})
	return h, at
}

func TestHealthTellsTheLastSuccessAndFailure(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	good, bad, mixed, idle := endpoint(t, db, target{}), endpoint(t, db, target{}), endpoint(t, db, target{}), endpoint(t, db, target{})
	_, at := record(t, db, outbox.Outcome{EndpointID: mixed, Successes: 1, Failures: 1}, outbox.Outcome{EndpointID: good, Successes: 2},
		outbox.Outcome{EndpointID: bad, Failures: 1}, outbox.Outcome{EndpointID: uuid.Max, Successes: 1})
	for id, want := range map[uuid.UUID]struct{ success, failure, failing int }{good: {1, 0, 0}, bad: {0, 1, 1}, mixed: {1, 1, 0}, idle: {0, 0, 0}} {
		for column, want := range map[string]int{"last_success_at": want.success, "last_failure_at": want.failure, "failing_since": want.failing} {
			if n := count(t, db, `sonicus.webhook_endpoints WHERE id = $1 AND `+column+` = $2`, id, at); n != want {
				t.Errorf("%s: %d, want %d", column, n, want)
			}
			if n := count(t, db, `sonicus.webhook_endpoints WHERE id = $1 AND `+column+` IS NULL`, id); n != 1-want {
				t.Errorf("%s is NULL: %d, want %d", column, n, 1-want)
			}
		}
	}
	if h, _ := record(t, db); h.Changes != nil || h.Hopeless != nil {
		t.Errorf("nothing happened: %+v", h)
	}
}

func TestBreakerMovesInTheBooks(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook, patient := endpoint(t, db, target{}), endpoint(t, db, target{})
	exec(t, db, `UPDATE sonicus.endpoints SET breaker_failures = 0 WHERE id = $1`, patient)
	record(t, db, outbox.Outcome{EndpointID: hook, Failures: 2})
	h, at := record(t, db, outbox.Outcome{EndpointID: hook, Failures: 1}, outbox.Outcome{EndpointID: patient, Failures: 99})
	if len(h.Changes) != 1 || h.Changes[0].EndpointID != hook || h.Changes[0].From != outbox.Closed || h.Changes[0].To != outbox.Open ||
		h.Changes[0].Failures != 3 || !h.Changes[0].Until.Equal(at.Add(5*time.Second)) {
		t.Errorf("got %+v, want one breaker opened for 5 s", h)
	}
	if n := count(t, db, `sonicus.webhook_endpoints WHERE id = $1 AND breaker_state = 'open' AND breaker_until = $2`, hook, at.Add(5*time.Second)); n != 1 {
		t.Error("not open in the books")
	}
	exec(t, db, `UPDATE sonicus.lanes SET failing_since = now() - interval '2 hours' WHERE endpoint_id = $1`, patient)
	if h, _ := record(t, db, outbox.Outcome{EndpointID: patient, Failures: 1}); !slices.Equal(h.Hopeless, []uuid.UUID{patient}) {
		t.Errorf("got %+v, want one endpoint to switch off", h)
	}
	h, at = record(t, db, outbox.Outcome{EndpointID: hook, Successes: 1})
	if len(h.Changes) != 1 || h.Changes[0].To != outbox.Closed || h.Changes[0].Until != nil {
		t.Errorf("got %+v, want it closed", h)
	}
	if n := count(t, db, `sonicus.lanes WHERE endpoint_id = $1 AND breaker_state = 'closed' AND breaker_until IS NULL AND failing_since IS NULL
		AND failures = 0 AND openings = 0 AND recovering_since = $2`, hook, at); n != 1 {
		t.Error("not closed and recovering in the books")
	}
}

func TestHealthIsWrittenAtMostOnceASecondAndInPlace(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{})
	exec(t, db, `UPDATE sonicus.lanes SET last_success_at = now() - interval '2 seconds'`)
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error { // in one transaction the clock stands still
		all, hot := updates(t, tx, "lanes")
		for range 3 {
			if _, err := outbox.RecordHealth(t.Context(), tx, now, []outbox.Outcome{{EndpointID: hook, Successes: 2}}, policy); err != nil {
				return err
			}
		}
		if n, h := updates(t, tx, "lanes"); n-all != 1 || h-hot != 1 {
			t.Errorf("%d updates, %d of them without touching an index; want 1 and 1", n-all, h-hot)
		}
		return nil
	})
}

func TestHealthFromManyDispatchersDoesNotDeadlockAndCountsAll(t *testing.T) {
	t.Parallel()
	const dispatchers, rounds, endpoints = 8, 25, 12
	db := pgtest.New(t)
	ids := make([]uuid.UUID, endpoints)
	for i := range ids {
		ids[i] = endpoint(t, db, target{})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wait sync.WaitGroup
	for range dispatchers {
		wait.Go(func() {
			for range rounds {
				var outcomes []outbox.Outcome
				for _, i := range rand.Perm(endpoints) {
					outcomes = append(outcomes, outbox.Outcome{EndpointID: ids[i], Failures: 1})
				}
				err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, now time.Time) error {
					_, err := outbox.RecordHealth(ctx, tx, now, outcomes, policy)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if n := count(t, db, `sonicus.lanes WHERE failures = $1 AND openings = 1`, dispatchers*rounds); n != endpoints {
		t.Errorf("%d of %d endpoints have all failures and one opening", n, endpoints)
	}
}

// Neither writes an indexed column, so no index grows. The new versions are larger
// than the old ones, so a page that is filled at once has no room for the last few.
func TestClaimingAndSettlingTouchIndexesRarely(t *testing.T) {
	t.Parallel()
	const deliveries = 200
	db := pgtest.New(t)
	hook := endpoint(t, db, target{})
	publish(t, db, organization(t, db), deliveries)
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
		all, hot := updates(t, tx, "queue")
		claimed, err := outbox.ClaimIn(t.Context(), tx, first(hook, deliveries))
		if err != nil {
			return err
		}
		if n, h := updates(t, tx, "queue"); len(claimed) != deliveries || n-all != deliveries || h-hot < deliveries*3/4 {
			t.Errorf("%d claimed by %d updates, %d of them HOT", len(claimed), n-all, h-hot)
		}
		all, hot = updates(t, tx, "deliveries")
		var results []outbox.Result
		for _, c := range claimed {
			results = append(results, sent(c))
		}
		if late, err := outbox.Settle(t.Context(), tx, "test", results); err != nil || len(late) != 0 {
			t.Errorf("%d late, %v", len(late), err)
		}
		if n, h := updates(t, tx, "deliveries"); n-all != deliveries || h-hot < deliveries*3/4 {
			t.Errorf("settled by %d updates, %d of them HOT", n-all, h-hot)
		}
		return nil
	})
}

// updates is how many rows of a table, with its partitions, this connection has
// changed lately, and how many of those without touching an index.
func updates(t *testing.T, tx *sqlx.Tx, table string) (all, hot int) {
	t.Helper()
	err := tx.QueryRowxContext(t.Context(), `SELECT sum(pg_stat_get_xact_tuples_updated(c.oid)), sum(pg_stat_get_xact_tuples_hot_updated(c.oid))
		FROM pg_class c WHERE c.oid IN (SELECT relid FROM pg_partition_tree(('sonicus.' || $1)::regclass))
		   OR c.oid = ('sonicus.' || $1)::regclass`, table).Scan(&all, &hot)
	if err != nil {
		t.Fatal(err)
	}
	return all, hot
}
