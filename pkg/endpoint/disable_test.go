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

// Many dispatchers see the same endpoints fail; one of them reports each.
func TestEndpointIsSwitchedOffOnceByManyDispatchers(t *testing.T) {
	t.Parallel()
	const endpoints = 12
	db := pgtest.New(t)
	store := newStore(t, db)
	ids := make([]uuid.UUID, endpoints)
	for i := range ids {
		ids[i] = create(t, store, valid()).ID
	}
	bystander := create(t, store, valid()).ID
	var (
		wait     sync.WaitGroup
		mu       sync.Mutex
		reported = map[uuid.UUID]int{}
	)
	for range 8 {
		wait.Go(func() {
			mine := make([]uuid.UUID, 0, endpoints)
			for _, i := range rand.Perm(endpoints) {
				mine = append(mine, ids[i])
			}
			err := postgres.InTx(context.WithoutCancel(t.Context()), db, func(tx *sqlx.Tx, now time.Time) error {
				off, err := endpoint.Disable(t.Context(), tx, mine, "gone")
				mu.Lock()
				defer mu.Unlock()
				for _, d := range off {
					reported[d.ID]++
					if d.Reason != "gone" || !d.At.Equal(now) || d.URL != publicURL || d.FailingSince != nil {
						t.Errorf("reported %+v", d)
					}
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for _, id := range ids {
		e, err := store.Get(t.Context(), id)
		if err != nil || reported[id] != 1 || e.IsActive || e.DisabledReason == nil || *e.DisabledReason != "gone" || e.DisabledAt == nil {
			t.Errorf("reported %d times, %+v, %v", reported[id], e, err)
		}
	}
	if e, err := store.Get(t.Context(), bystander); err != nil || !e.IsActive {
		t.Errorf("bystander: %+v, %v", e, err)
	}
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
		off, err := endpoint.Disable(t.Context(), tx, nil, "gone")
		if len(off) != 0 {
			t.Errorf("none to switch off, but %v", off)
		}
		return err
	})
}
