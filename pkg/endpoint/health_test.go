package endpoint_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func record(t *testing.T, db *sqlx.DB, outcomes ...endpoint.Outcome) (at time.Time) {
	t.Helper()
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
		at = now
		return endpoint.Record(t.Context(), tx, outcomes)
	})
	return at
}

func get(t *testing.T, s *endpoint.Store, id uuid.UUID) endpoint.Endpoint {
	t.Helper()
	e, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestHealthTellsTheLastSuccessAndFailure(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	good, bad, mixed, idle := create(t, store, valid()).ID, create(t, store, valid()).ID, create(t, store, valid()).ID, create(t, store, valid()).ID
	at := record(t, db, endpoint.Outcome{EndpointID: mixed, Success: true}, endpoint.Outcome{EndpointID: good, Success: true},
		endpoint.Outcome{EndpointID: mixed}, endpoint.Outcome{EndpointID: bad}, endpoint.Outcome{EndpointID: good, Success: true})
	for id, want := range map[uuid.UUID]struct{ success, failure bool }{good: {true, false}, bad: {false, true}, mixed: {true, true}, idle: {}} {
		e := get(t, store, id)
		if (e.LastSuccessAt != nil) != want.success || (e.LastFailureAt != nil) != want.failure || !e.IsActive {
			t.Errorf("want %+v, got %v and %v", want, e.LastSuccessAt, e.LastFailureAt)
		}
		for _, noted := range []*time.Time{e.LastSuccessAt, e.LastFailureAt} {
			if noted != nil && !noted.Equal(at) {
				t.Errorf("noted at %s, settled at %s", noted, at)
			}
		}
	}
	record(t, db)
	record(t, db, endpoint.Outcome{EndpointID: uuid.Max, Success: true})
}

func TestGoneSwitchesTheEndpointOffOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	id := create(t, store, valid()).ID
	at := record(t, db, endpoint.Outcome{EndpointID: id, Success: true}, endpoint.Outcome{EndpointID: id, Gone: true})
	exec(t, db, `UPDATE sonicus.endpoints SET last_failure_at = now() - interval '1 minute' WHERE id = $1`, id)
	record(t, db, endpoint.Outcome{EndpointID: id, Gone: true}) // an attempt that was in flight
	e := get(t, store, id)
	if e.IsActive || e.DisabledReason == nil || *e.DisabledReason != "gone" || e.DisabledAt == nil || !e.DisabledAt.Equal(at) || e.LastFailureAt == nil {
		t.Errorf("got %+v", e)
	}
}

func TestGoneIsRecordedRightAfterAFailure(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	id := create(t, store, valid()).ID
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
		if err := endpoint.Record(t.Context(), tx, []endpoint.Outcome{{EndpointID: id}}); err != nil {
			return err
		}
		return endpoint.Record(t.Context(), tx, []endpoint.Outcome{{EndpointID: id, Gone: true}})
	})
	if get(t, store, id).IsActive {
		t.Error("still active")
	}
}

func TestHealthIsWrittenAtMostOnceASecondAndInPlace(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id := create(t, newStore(t, db), valid()).ID
	exec(t, db, `UPDATE sonicus.endpoints SET last_success_at = now() - interval '2 seconds' WHERE id = $1`, id)
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error { // in one transaction the clock stands still
		before, hotBefore := updates(t, tx)
		for range 3 {
			if err := endpoint.Record(t.Context(), tx, []endpoint.Outcome{{EndpointID: id, Success: true}, {EndpointID: id, Success: true}}); err != nil {
				return err
			}
		}
		if n, hot := updates(t, tx); n-before != 1 || hot-hotBefore != 1 {
			t.Errorf("%d updates, %d of them without touching an index; want 1 and 1", n-before, hot-hotBefore)
		}
		return nil
	})
}

// updates is how many rows of the table this connection has changed lately, and
// how many of those without touching an index.
func updates(t *testing.T, tx *sqlx.Tx) (all, hot int) {
	t.Helper()
	err := tx.QueryRowxContext(t.Context(), `SELECT pg_stat_get_xact_tuples_updated(c), pg_stat_get_xact_tuples_hot_updated(c)
		FROM CAST('sonicus.endpoints'::regclass AS oid) AS c`).Scan(&all, &hot)
	if err != nil {
		t.Fatal(err)
	}
	return all, hot
}

func TestHealthFromManyDispatchersDoesNotDeadlock(t *testing.T) {
	t.Parallel()
	const dispatchers, rounds, endpoints = 8, 40, 12
	db := pgtest.New(t)
	store := newStore(t, db)
	ids := make([]uuid.UUID, endpoints)
	for i := range ids {
		ids[i] = create(t, store, valid()).ID
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wait sync.WaitGroup
	for range dispatchers {
		wait.Go(func() {
			for range rounds {
				outcomes := make([]endpoint.Outcome, 0, endpoints)
				for _, i := range rand.Perm(endpoints) {
					outcomes = append(outcomes, endpoint.Outcome{EndpointID: ids[i], Success: rand.IntN(2) == 0})
				}
				err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error { return endpoint.Record(ctx, tx, outcomes) })
				if err == nil { // makes one endpoint worth writing again
					err = postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
						_, err := tx.ExecContext(ctx, `UPDATE sonicus.endpoints SET last_success_at = NULL, last_failure_at = NULL WHERE id = $1`, outcomes[0].EndpointID)
						return err
					})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}
