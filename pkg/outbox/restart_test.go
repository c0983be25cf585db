package outbox_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// inTrouble makes an endpoint look as if it had failed for days.
func inTrouble(t *testing.T, db *sqlx.DB, id uuid.UUID) {
	t.Helper()
	exec(t, db, `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now() + interval '1 hour', failures = 50, openings = 9,
		failing_since = now() - interval '6 days', last_failure_at = now() - interval '1 minute' WHERE endpoint_id = $1`, id)
}

func TestEndpointSwitchedOnIsNotSwitchedOffByTheNextFailure(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	policy := outbox.BreakerPolicy{Failures: 10, FirstOpen: time.Second, MaxOpen: time.Minute, DisableAfter: 5 * 24 * time.Hour}
	for name, begin := range map[string]func(*sqlx.Tx, uuid.UUID) error{
		"restart": func(tx *sqlx.Tx, id uuid.UUID) error { return outbox.Restart(t.Context(), tx, id) },
		"resume":  func(tx *sqlx.Tx, id uuid.UUID) error { return outbox.Resume(t.Context(), tx, id) },
	} {
		id := endpoint(t, db, target{})
		inTrouble(t, db, id)
		var h outbox.Health
		inTx(t, db, func(tx *sqlx.Tx, now time.Time) (err error) {
			if err = begin(tx, id); err != nil {
				return err
			}
			h, err = outbox.RecordHealth(t.Context(), tx, now, []outbox.Outcome{{EndpointID: id, Failures: 1}}, policy)
			return err
		})
		if len(h.Hopeless) > 0 {
			t.Errorf("%s: switched off at once", name)
		}
		if state := stateOf(t, db, id); (state == "closed") != (name == "restart") {
			t.Errorf("%s: the breaker is %s", name, state)
		}
	}
}

func stateOf(t *testing.T, db *sqlx.DB, id uuid.UUID) (state string) {
	t.Helper()
	if err := db.GetContext(t.Context(), &state, `SELECT breaker_state FROM sonicus.lanes WHERE endpoint_id = $1`, id); err != nil {
		t.Fatal(err)
	}
	return state
}

func TestBacklogIsDrainedSlowlyAndAnEmptyQueueIsNot(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	idle, busy, waiting := endpoint(t, db, target{Events: `["none"]`}), endpoint(t, db, target{}), endpoint(t, db, target{MaxRetries: 3})
	publish(t, db, organization(t, db), 100)
	claimed, _ := ask(t, db, first(waiting, 100))
	var results []outbox.Result
	for _, c := range claimed {
		results = append(results, retrying(c, time.Hour))
	}
	settle(t, db, results...)
	for name, begin := range map[string]func(*sqlx.Tx, uuid.UUID) error{
		"restart": func(tx *sqlx.Tx, id uuid.UUID) error { return outbox.Restart(t.Context(), tx, id) },
		"resume":  func(tx *sqlx.Tx, id uuid.UUID) error { return outbox.Resume(t.Context(), tx, id) },
	} {
		exec(t, db, `UPDATE sonicus.lanes SET recovering_since = NULL`)
		inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
			for _, id := range []uuid.UUID{idle, busy, waiting} {
				if err := begin(tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		var recovering []uuid.UUID
		if err := db.Select(&recovering, `SELECT endpoint_id FROM sonicus.lanes WHERE recovering_since IS NOT NULL ORDER BY endpoint_id = $1`, waiting); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]uuid.UUID{busy, waiting}, recovering); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if claimed, _ := ask(t, db, first(busy, 100)); len(claimed) == 0 || len(claimed) > 20 {
		t.Errorf("%d claimed at once", len(claimed))
	}
}
