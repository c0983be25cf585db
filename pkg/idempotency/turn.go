package idempotency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// turns lets a process work on one request with a key at a time. Those that wait here
// hold no connection: a client that sends a request again and again would otherwise
// take all of the pool, and everybody else would wait with it.
type turns struct {
	mu    sync.Mutex
	taken map[turn]chan struct{} // closed at the end
}

// turn is what there is one of.
type turn struct{ caller, key string }

// Begin waits until this process works on no other request with the key; end is to be
// called when this one is over. Other processes are waited for in [InTx], by one request of each. The
// problem is Conflict (in_progress), after a second.
func (s *Store) Begin(ctx context.Context, r Request) (end func(), err error) {
	patience := time.NewTimer(maxWait)
	defer patience.Stop()
	for {
		before := s.turns.take(turn{r.Caller, r.Key})
		if before == nil {
			return func() { s.turns.giveBack(turn{r.Caller, r.Key}) }, nil
		}
		select {
		case <-before:
		case <-patience.C:
			return nil, inProgress(errors.New("this process works on another request with the key"))
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a request with the same key: %w", ctx.Err())
		}
	}
}

// take returns nil, or what is closed when whoever has the turn gives it back.
func (t *turns) take(of turn) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before, busy := t.taken[of]; busy {
		return before
	}
	t.taken[of] = make(chan struct{})
	return nil
}

func (t *turns) giveBack(of turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.taken[of])
	delete(t.taken, of)
}
