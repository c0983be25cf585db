package httpapi

import (
	"sync"
	"sync/atomic"
	"testing"
)

// Whoever waits for a request with the same key must not take the connections that
// everybody else needs.
func TestWaitingForAKeyHoldsOneConnection(t *testing.T) {
	t.Parallel()
	const clients = 20
	a := newAPI(t)
	a.db.SetMaxOpenConns(3)
	tx := a.db.MustBeginTx(t.Context(), nil)
	defer func() { _ = tx.Rollback() }()
	tx.MustExecContext(t.Context(), `INSERT INTO sonicus.idempotency_keys (caller, key, id, created_at) VALUES ('name:bootstrap', 'held', gen_random_uuid(), now())`)
	waited := a.db.Stats().WaitCount
	var refused atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			if got := a.do(t, keyed(organizationsPath, "held", organizationBody)); got.status == 409 && got.header.Get("Retry-After") == "1" {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if n := refused.Load(); n != clients {
		t.Errorf("%d of %d were told to come back", n, clients)
	}
	if n := a.db.Stats().WaitCount - waited; n > 0 {
		t.Errorf("connections were waited for %d times", n)
	}
}
