package endpoint_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// Who settles locks what is known of an endpoint's health, and may then switch the
// endpoint off. A change that comes between must wait and not deadlock.
func TestChangeDoesNotDeadlockWithASettleThatSwitchesOff(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	id := create(t, store, valid()).ID
	paused := make(chan error, 1)
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
		if err := outbox.HoldLane(t.Context(), tx, id); err != nil {
			return err
		}
		go func() {
			_, err := store.Pause(t.Context(), id)
			paused <- err
		}()
		awaitLock(t, db)
		off, err := endpoint.Disable(t.Context(), tx, []uuid.UUID{id}, "gone")
		if len(off) != 1 {
			t.Errorf("switched off %v", off)
		}
		return err
	})
	if err := <-paused; err != nil {
		t.Error(err)
	}
	found, err := store.Get(t.Context(), id)
	if err != nil || found.IsActive || found.PausedAt == nil {
		t.Errorf("active %v, paused at %v, %v", found.IsActive, found.PausedAt, err)
	}
}

// awaitLock waits until a transaction of this database waits for another.
func awaitLock(t *testing.T, db *sqlx.DB) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		var waiting int
		err := db.GetContext(t.Context(), &waiting, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
		if err != nil {
			t.Fatal(err)
		}
		if waiting > 0 {
			return
		}
	}
	t.Fatal("nobody waited for a lock")
}
