package outbox_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// failedDelivery is the first that was given up.
func (h *history) failedDelivery(t *testing.T) (id uuid.UUID) {
	t.Helper()
	if err := h.db.GetContext(t.Context(), &id, `SELECT id FROM sonicus.deliveries WHERE event_id = $1 AND generation = 1`, h.failed[0]); err != nil {
		t.Fatal(err)
	}
	return id
}

// An administrator tries a delivery again that a replay is about to send again.
func TestReplayLeavesAloneWhatIsJustBeingRetried(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 2)
	id := h.failedDelivery(t)
	r := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayFailed})
	retrying := begin(t, h.db)
	for _, statement := range []string{
		`UPDATE sonicus.deliveries SET status = 'retrying', failure_reason = NULL, max_attempts = 2 WHERE id = $1`,
		`INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at, retry) SELECT id, endpoint_id, now(), true FROM sonicus.deliveries WHERE id = $1`,
	} {
		if _, err := retrying.ExecContext(t.Context(), statement, id); err != nil {
			t.Fatal(err)
		}
	}
	stepped := make(chan outbox.ReplayStep)
	go func() {
		s, err := outbox.StepReplay(t.Context(), h.db)
		if err != nil {
			t.Error(err)
		}
		stepped <- s
	}()
	awaitBlocked(t, h.db, 1)
	if err := retrying.Commit(); err != nil {
		t.Fatal(err)
	}
	if s := <-stepped; s.Created != 1 || s.Replay.ID != r.ID {
		t.Errorf("made %d", s.Created)
	}
	booksAgree(t, h.db)
}

// The other way round: the replay was there first.
func TestRetryIsRefusedOnceAReplayIsMakingANewerDelivery(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 1)
	id := h.failedDelivery(t)
	h.replay(t, outbox.NewReplay{Mode: outbox.ReplayFailed})
	holding := begin(t, h.db)
	if _, err := holding.ExecContext(t.Context(), `LOCK TABLE sonicus.queue IN SHARE ROW EXCLUSIVE MODE`); err != nil { // the step gets as far as the queue
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() { _, err := outbox.StepReplay(t.Context(), h.db); done <- err }()
	awaitBlocked(t, h.db, 1)
	go func() { _, err := outbox.NewDeliveries(h.db, nil).Retry(t.Context(), id); done <- err }()
	awaitBlocked(t, h.db, 2)
	if err := holding.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	select {
	case err := <-done:
		refused(t, err, "replayed")
	case <-time.After(time.Minute):
		t.Fatal("the retry did not end")
	}
	booksAgree(t, h.db)
}
