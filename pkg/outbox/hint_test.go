package outbox_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestHintsNameTheEndpointsAndBecomeOne(t *testing.T) {
	t.Parallel()
	l := listen(t)
	h := outbox.NewHinter(l.db, quiet)
	a, b, c := uuid.New(), uuid.New(), uuid.New()
	h.Hint([]uuid.UUID{a, b})
	h.Hint([]uuid.UUID{b})
	h.Hint(nil)
	h.Hint([]uuid.UUID{c, a})
	go h.Run(l.ctx)
	if diff := cmp.Diff(sorted(a, b, c), sorted(l.next(t)...)); diff != "" {
		t.Error(diff)
	}
	h.Hint([]uuid.UUID{b}) // what has been told is not told again
	if diff := cmp.Diff([]uuid.UUID{b}, l.next(t)); diff != "" {
		t.Error(diff)
	}
}

func TestHintSaysWhatIsARetry(t *testing.T) {
	t.Parallel()
	l := listen(t)
	h := outbox.NewHinter(l.db, quiet)
	a, b := uuid.New(), uuid.New()
	h.HintLanes([]outbox.Lane{{EndpointID: a, Retry: true}, {EndpointID: b}})
	go h.Run(l.ctx)
	if diff := cmp.Diff([]uuid.UUID{b}, l.next(t)); diff != "" {
		t.Error(diff)
	}
	if got := <-l.retries; got != a {
		t.Errorf("heard %s, want %s", got, a)
	}
}

func TestHintOfNothingIsNotSent(t *testing.T) {
	t.Parallel()
	l := listen(t)
	h := outbox.NewHinter(l.db, quiet)
	go h.Run(l.ctx)
	h.Hint(nil)
	h.Hint([]uuid.UUID{})
	end := uuid.New()
	h.Hint([]uuid.UUID{end})
	if diff := cmp.Diff([]uuid.UUID{end}, l.next(t)); diff != "" {
		t.Error(diff)
	}
}

func TestHintOfTooManyEndpointsMeansAll(t *testing.T) {
	t.Parallel()
	l := listen(t)
	var ids []uuid.UUID
	for range 210 {
		ids = append(ids, uuid.New())
	}
	h := outbox.NewHinter(l.db, quiet)
	go h.Run(l.ctx)
	h.Hint(ids)
	if diff := cmp.Diff(sorted(ids...), sorted(l.next(t)...)); diff != "" {
		t.Errorf("as many as there is room for: %s", diff)
	}
	h.Hint(append(ids, uuid.New()))
	if got := l.next(t); got != nil {
		t.Errorf("one more: %d named", len(got))
	}
	h.Hint(ids[:1])
	if got := l.next(t); len(got) != 1 {
		t.Errorf("afterwards: %d named", len(got))
	}
}

func TestHintThatCannotBeReadMeansAll(t *testing.T) {
	t.Parallel()
	l := listen(t)
	id := uuid.NewString()
	for _, payload := range []string{"", ",", "x", id + ",", "," + id, id + ";" + id, id[:35], strings.Repeat("é", 3000)} {
		l.notify(t, payload)
		if got := l.next(t); got != nil {
			t.Errorf("%.50q: heard %s", payload, got)
		}
	}
	l.notify(t, id)
	if got := l.next(t); len(got) != 1 || got[0].String() != id {
		t.Errorf("afterwards: heard %s", got)
	}
}

func TestLostListenerComesBackAndLooksEverywhere(t *testing.T) {
	t.Parallel()
	l := listen(t)
	var pid int
	const listener = `SELECT pid FROM pg_stat_activity WHERE application_name = 'sonicus-listen' AND datname = current_database()`
	if err := l.db.GetContext(t.Context(), &pid, listener); err != nil {
		t.Fatal(err)
	}
	exec(t, l.db, `SELECT pg_terminate_backend($1)`, pid)
	if got := l.next(t); got != nil {
		t.Errorf("heard %s", got)
	}
	var again int
	if err := l.db.GetContext(t.Context(), &again, listener); err != nil || again == pid {
		t.Errorf("heard before the connection was back: %d after %d, %v", again, pid, err)
	}
	id := uuid.New()
	l.notify(t, id.String())
	if diff := cmp.Diff([]uuid.UUID{id}, l.next(t)); diff != "" {
		t.Error(diff)
	}
}

// Whoever follows a hint finds what it tells of.
func TestHintedDeliveriesAreCommitted(t *testing.T) {
	t.Parallel()
	l := listen(t)
	hook, org := endpoint(t, l.db, target{}), organization(t, l.db)
	h := outbox.NewHinter(l.db, quiet)
	go h.Run(l.ctx)
	for round := range 10 {
		var told []uuid.UUID
		inTx(t, l.db, func(tx *sqlx.Tx, now time.Time) (err error) {
			told, err = outbox.Publish(t.Context(), tx, created(t, org, now))
			return err
		})
		h.Hint(told)
		if diff := cmp.Diff([]uuid.UUID{hook}, l.next(t)); diff != "" {
			t.Fatal(diff)
		}
		if n := count(t, l.db, `sonicus.queue WHERE endpoint_id = $1`, hook); n != round+1 {
			t.Errorf("hinted at %d deliveries, found %d", round+1, n)
		}
	}
}

func TestLastHintIsSentWhenTheHinterStops(t *testing.T) {
	t.Parallel()
	l := listen(t)
	stopped, stop := context.WithCancel(l.ctx)
	stop()
	h := outbox.NewHinter(l.db, quiet)
	id := uuid.New()
	h.Hint([]uuid.UUID{id})
	h.Run(stopped)
	if diff := cmp.Diff([]uuid.UUID{id}, l.next(t)); diff != "" {
		t.Error(diff)
	}
}

var quiet = slog.New(slog.DiscardHandler)

// listening is a database and what is heard from it.
type listening struct {
	ctx     context.Context // ends before the test's database does
	db      *sqlx.DB
	heard   chan []uuid.UUID
	retries chan uuid.UUID
}

// listen returns when everything notified from now on is heard.
func listen(t *testing.T) *listening {
	t.Helper()
	url := pgtest.NewURL(t)
	db, err := postgres.Connect(t.Context(), url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	l := &listening{ctx: ctx, db: db, heard: make(chan []uuid.UUID, 100), retries: make(chan uuid.UUID, 100)}
	go func() {
		if err := outbox.Listen(ctx, url, quiet, func(lanes []outbox.Lane) { l.hear(lanes) }); err != nil {
			t.Error(err)
		}
	}()
	if got := l.next(t); got != nil {
		t.Fatalf("heard %s before anything was notified", got)
	}
	// The connection is there; LISTEN follows it.
	last := uuid.New()
	for {
		l.notify(t, last.String())
		select {
		case <-l.heard:
		case <-time.After(50 * time.Millisecond):
			continue
		}
		break
	}
	end := uuid.New()
	l.notify(t, end.String())
	for got := l.next(t); !slices.Contains(got, end); got = l.next(t) {
	}
	return l
}

// hear notes the lanes of first attempts by their endpoints, and those of retries.
func (l *listening) hear(lanes []outbox.Lane) {
	var endpoints []uuid.UUID
	for _, lane := range lanes {
		if lane.Retry {
			l.retries <- lane.EndpointID
		} else {
			endpoints = append(endpoints, lane.EndpointID)
		}
	}
	l.heard <- endpoints
}

func (l *listening) next(t *testing.T) []uuid.UUID {
	t.Helper()
	select {
	case endpoints := <-l.heard:
		return endpoints
	case <-time.After(20 * time.Second):
		t.Fatal("nothing heard in 20 s")
		return nil
	}
}

func (l *listening) notify(t *testing.T, payload string) {
	t.Helper()
	exec(t, l.db, `SELECT pg_notify('sonicus_queue', $1)`, payload)
}

func sorted(ids ...uuid.UUID) []uuid.UUID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) })
	return ids
}
