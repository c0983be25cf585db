package outbox_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
)

// hands are an administrator's, and the lanes that dispatchers are told of.
type hands struct {
	*outbox.Deliveries
	db   *sqlx.DB
	told []outbox.Lane
}

func newHands(t *testing.T) *hands {
	t.Helper()
	h := &hands{db: pgtest.New(t)}
	h.Deliveries = outbox.NewDeliveries(h.db, func(due []outbox.Lane) { h.told = append(h.told, due...) })
	return h
}

func (h *hands) retry(t *testing.T, id uuid.UUID) outbox.Shown {
	t.Helper()
	d, err := h.Retry(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	booksAgree(t, h.db)
	return d
}

func (h *hands) cancel(t *testing.T, id uuid.UUID) outbox.Shown {
	t.Helper()
	d, err := h.Cancel(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	booksAgree(t, h.db)
	return d
}

func refused(t *testing.T, err error, code string) {
	t.Helper()
	if p, ok := errors.AsType[*problem.Error](err); !ok || p.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func (h *hands) trail(t *testing.T, action string) int {
	t.Helper()
	return count(t, h.db, `sonicus.audit_log WHERE action = $1`, action)
}

func TestRetryOfAFailedDeliveryGivesItOneMoreAttempt(t *testing.T) {
	t.Parallel()
	h := newHands(t)
	id := endpoint(t, h.db, target{})
	publish(t, h.db, organization(t, h.db), 1)
	for attempts := 1; attempts <= 3; attempts++ {
		claimed := claim(t, h.db, 1)
		if len(claimed) != 1 || claimed[0].AttemptCount != attempts-1 || claimed[0].MaxAttempts != attempts || claimed[0].Retry != (attempts > 1) {
			t.Fatalf("attempt %d: claimed %+v", attempts, claimed)
		}
		settle(t, h.db, failed(claimed[0], "exhausted"))
		booksAgree(t, h.db)
		d := h.retry(t, claimed[0].DeliveryID)
		if d.Status != outbox.Retrying || d.FailureReason != nil || d.AttemptCount != attempts || d.MaxAttempts != attempts+1 || d.Next == nil {
			t.Errorf("retried: %+v", d)
		}
		if n := h.trail(t, "delivery.retry"); n != attempts {
			t.Errorf("%d entries in the trail, want %d", n, attempts)
		}
	}
	settle(t, h.db, sent(claim(t, h.db, 1)[0]))
	booksAgree(t, h.db)
	if want := (outbox.Lane{EndpointID: id, Retry: true}); len(h.told) != 3 || h.told[0] != want {
		t.Errorf("told of %v", h.told)
	}
}

func TestRetryOfADeliveryThatWaitsMakesItDue(t *testing.T) {
	t.Parallel()
	h := newHands(t)
	endpoint(t, h.db, target{MaxRetries: 3})
	publish(t, h.db, organization(t, h.db), 1)
	c := claim(t, h.db, 1)[0]
	settle(t, h.db, retrying(c, time.Hour))
	if early := claim(t, h.db, 1); len(early) != 0 {
		t.Fatal("due already")
	}
	if d := h.retry(t, c.DeliveryID); d.MaxAttempts != 4 || d.AttemptCount != 1 || d.NextAttemptAt.After(time.Now().Add(time.Minute)) {
		t.Errorf("retried: %+v", d)
	}
	h.retry(t, c.DeliveryID) // once more changes nothing
	if n := h.trail(t, "delivery.retry"); n != 1 {
		t.Errorf("%d entries in the trail", n)
	}
	if again := claim(t, h.db, 1); len(again) != 1 || !again[0].Retry {
		t.Errorf("claimed %+v", again)
	}
	_, err := h.Retry(t.Context(), c.DeliveryID)
	refused(t, err, "in_flight")
}

func TestRetryIsRefusedWhereThereIsNothingToTry(t *testing.T) {
	t.Parallel()
	h := newHands(t)
	done, deleted, ordered := endpoint(t, h.db, target{}), endpoint(t, h.db, target{}), endpoint(t, h.db, target{Ordered: true})
	publish(t, h.db, organization(t, h.db), 2)
	of := func(endpoint uuid.UUID) (ids []uuid.UUID) {
		if err := h.db.SelectContext(t.Context(), &ids, `SELECT delivery_id FROM sonicus.queue WHERE endpoint_id = $1 ORDER BY position`, endpoint); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	first, orphan, turns := of(done), of(deleted), of(ordered)
	claimed, _ := ask(t, h.db, outbox.Ask{Lane: outbox.Lane{EndpointID: done}, Most: 1})
	settle(t, h.db, sent(claimed[0]))
	deleteEndpoint(t, h.db, deleted)
	_, err := h.Retry(t.Context(), claimed[0].DeliveryID)
	refused(t, err, "already_sent")
	_, err = h.Retry(t.Context(), orphan[0])
	refused(t, err, "endpoint_deleted")
	_, err = h.Retry(t.Context(), turns[1])
	refused(t, err, "waits_for_turn")
	for _, unknown := range []uuid.UUID{uuid.Nil, uuid.Max, uuid.New(), uuid.Must(uuid.NewV7())} {
		_, err = h.Retry(t.Context(), unknown)
		refused(t, err, "not_found")
		_, err = h.Cancel(t.Context(), unknown)
		refused(t, err, "not_found")
	}
	booksAgree(t, h.db)
	if len(first) != 2 || h.trail(t, "delivery.retry") != 0 || len(h.told) != 0 {
		t.Errorf("told of %v", h.told)
	}
}

func TestCanceledDeliveryIsNeverSent(t *testing.T) {
	t.Parallel()
	h := newHands(t)
	endpoint(t, h.db, target{MaxRetries: 3})
	publish(t, h.db, organization(t, h.db), 2)
	c := claim(t, h.db, 1)[0]
	_, err := h.Cancel(t.Context(), c.DeliveryID)
	refused(t, err, "in_flight")
	settle(t, h.db, retrying(c, time.Hour))
	if d := h.cancel(t, c.DeliveryID); d.Status != outbox.Failed || *d.FailureReason != outbox.Canceled || d.AttemptCount != 1 || d.Next != nil {
		t.Errorf("canceled: %+v", d)
	}
	_, err = h.Cancel(t.Context(), c.DeliveryID)
	refused(t, err, "already_failed")
	var other uuid.UUID
	if err := h.db.GetContext(t.Context(), &other, `SELECT delivery_id FROM sonicus.queue`); err != nil {
		t.Fatal(err)
	}
	h.cancel(t, other)
	if left := claim(t, h.db, 2); len(left) != 0 || count(t, h.db, `sonicus.queue`) != 0 {
		t.Errorf("claimed %+v", left)
	}
	if got := total(t, h.db, 0); got.Failed[outbox.Canceled] != 2 || got.Attempts != 0 { // nobody tallies here
		t.Errorf("counted: %+v", got)
	}
	if n := h.trail(t, "delivery.cancel"); n != 2 {
		t.Errorf("%d entries in the trail", n)
	}
	// Of the one, no attempt was made: it begins anew. The other goes on.
	if a, b := h.retry(t, other), h.retry(t, c.DeliveryID); a.Status != outbox.Pending || b.Status != outbox.Retrying {
		t.Errorf("retried: %s and %s", a.Status, b.Status)
	}
	for _, again := range claim(t, h.db, 2) {
		settle(t, h.db, sent(again))
	}
	booksAgree(t, h.db)
	if n := count(t, h.db, `sonicus.deliveries WHERE status = 'sent'`); n != 2 {
		t.Errorf("%d sent", n)
	}
}

// The process that held the lease comes back with its result.
func TestResultOfACanceledDeliveryIsLate(t *testing.T) {
	t.Parallel()
	h := newHands(t)
	endpoint(t, h.db, target{MaxRetries: 3})
	publish(t, h.db, organization(t, h.db), 1)
	c := claim(t, h.db, 1)[0]
	endLeases(t, h.db)
	h.cancel(t, c.DeliveryID)
	if late := settle(t, h.db, sent(c)); !slices.Equal(late, []uuid.UUID{c.DeliveryID}) {
		t.Errorf("late: %v", late)
	}
	booksAgree(t, h.db)
	h.retry(t, c.DeliveryID)
	if late := settle(t, h.db, sent(c)); len(late) != 0 { // told once
		t.Errorf("late again: %v", late)
	}
	booksAgree(t, h.db)
}

func TestCancelingTheFirstOfAStreamLetsTheNextGo(t *testing.T) {
	t.Parallel()
	h := newHands(t)
	id := endpoint(t, h.db, target{Ordered: true})
	publish(t, h.db, organization(t, h.db), 3)
	var stream []uuid.UUID
	if err := h.db.SelectContext(t.Context(), &stream, `SELECT delivery_id FROM sonicus.queue ORDER BY position`); err != nil {
		t.Fatal(err)
	}
	h.cancel(t, stream[1]) // waits; nothing changes for the others
	if len(h.told) != 0 {
		t.Errorf("told of %v", h.told)
	}
	h.cancel(t, stream[0])
	if want := []outbox.Lane{{EndpointID: id}}; !slices.Equal(h.told, want) {
		t.Errorf("told of %v, want %v", h.told, want)
	}
	if next := claim(t, h.db, 3); len(next) != 1 || next[0].DeliveryID != stream[2] {
		t.Errorf("claimed %+v", next)
	}
	h.retry(t, stream[0]) // in no order
	if next := claim(t, h.db, 3); len(next) != 1 || next[0].DeliveryID != stream[0] || next[0].OrganizationID.Valid {
		t.Errorf("claimed %+v", next)
	}
}

// An administrator's hand and a dispatcher's reach for the same delivery.
func TestRetryAndCancelWaitForAResultThatIsBeingRecorded(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*outbox.Deliveries, context.Context, uuid.UUID) (outbox.Shown, error){
		"retry": (*outbox.Deliveries).Retry, "cancel": (*outbox.Deliveries).Cancel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHands(t)
			endpoint(t, h.db, target{MaxRetries: 1, Ordered: true})
			publish(t, h.db, organization(t, h.db), 1)
			c := claim(t, h.db, 1)[0]
			tx := begin(t, h.db)
			if _, err := settleIn(t.Context(), tx, sent(c)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error)
			go func() { _, err := do(h.Deliveries, t.Context(), c.DeliveryID); done <- err }()
			awaitBlocked(t, h.db, 1)
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			refused(t, <-done, "already_sent")
			booksAgree(t, h.db)
		})
	}
}
