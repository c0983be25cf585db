package outbox_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// history is an endpoint with deliveries in every state.
type history struct {
	db                   *sqlx.DB
	replays              *outbox.Replays
	endpoint             uuid.UUID
	organization         uuid.UUID
	sent, failed, queued []uuid.UUID // events
}

// newHistory publishes n events for each outcome.
func newHistory(t *testing.T, e target, n int) *history {
	t.Helper()
	db := pgtest.New(t)
	h := &history{db: db, replays: outbox.NewReplays(db), endpoint: endpoint(t, db, e), organization: organization(t, db)}
	h.add(t, n)
	return h
}

func (h *history) add(t *testing.T, n int) {
	t.Helper()
	events := publish(t, h.db, h.organization, 3*n)
	for i, ev := range events {
		switch i / n {
		case 0:
			h.sent = append(h.sent, ev.ID)
		case 1:
			h.failed = append(h.failed, ev.ID)
		default:
			h.queued = append(h.queued, ev.ID)
		}
	}
	h.end(t, h.endpoint)
}

// end brings the deliveries that are queued for the events of sent and failed to their ends.
func (h *history) end(t *testing.T, endpoint uuid.UUID) {
	t.Helper()
	for _, c := range drain(t, h.db, endpoint) {
		switch {
		case slices.Contains(h.sent, c.EventID):
			settle(t, h.db, sent(c))
		case slices.Contains(h.failed, c.EventID):
			settle(t, h.db, failed(c, "blocked_address"))
		}
	}
	exec(t, h.db, `UPDATE sonicus.queue SET lease_until = NULL, lease_token = NULL`)
}

// drain claims all that is queued for first attempts.
func drain(t *testing.T, db *sqlx.DB, endpoint uuid.UUID) (all []outbox.Claimed) {
	t.Helper()
	for {
		some, _ := ask(t, db, first(endpoint, 1000))
		if len(some) == 0 {
			return all
		}
		all = append(all, some...)
	}
}

func (h *history) replay(t *testing.T, n outbox.NewReplay) outbox.Replay {
	t.Helper()
	if n.Since == nil {
		n.Since = ago(time.Hour)
	}
	if n.RateLimit == nil {
		n.RateLimit = new(10_000)
	}
	r, err := h.replays.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ago(d time.Duration) *time.Time { at := time.Now().Add(-d); return &at }

// work does what a dispatcher does until no replay is running.
func (h *history) work(t *testing.T) {
	t.Helper()
	for !h.step(t) {
	}
}

// step says whether none is running.
func (h *history) step(t *testing.T) (idle bool) {
	t.Helper()
	s, err := outbox.StepReplay(t.Context(), h.db)
	if err != nil {
		t.Fatal(err)
	}
	if s.Replay.ID == uuid.Nil && s.Again > 0 {
		exec(t, h.db, `SELECT pg_sleep($1)`, s.Again.Seconds())
	}
	return s.Replay.ID == uuid.Nil && s.Again == 0
}

func (h *history) get(t *testing.T, id uuid.UUID) outbox.Replay {
	t.Helper()
	r, err := h.replays.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// made are the events of the deliveries that a replay has made, in order.
func (h *history) made(t *testing.T, id uuid.UUID) []uuid.UUID {
	t.Helper()
	var events []uuid.UUID
	if err := h.db.SelectContext(t.Context(), &events, `SELECT event_id FROM sonicus.deliveries WHERE replay_id = $1`, id); err != nil {
		t.Fatal(err)
	}
	return byIDs(events)
}

func byIDs(ids ...[]uuid.UUID) []uuid.UUID { return sorted(slices.Concat(ids...)...) }

// is checks that a replay is done, and has made a delivery for exactly these events.
func (h *history) is(t *testing.T, r outbox.Replay, want ...[]uuid.UUID) {
	t.Helper()
	expected, got, now := byIDs(want...), h.made(t, r.ID), h.get(t, r.ID)
	if !slices.Equal(expected, got) {
		t.Errorf("%d deliveries made, want %d", len(got), len(expected))
	}
	if now.State != outbox.ReplayDone || now.Created != int64(len(expected)) || now.Matched == nil || *now.Matched != int64(len(expected)) || now.FinishedAt == nil {
		t.Errorf("of %d: %+v", len(expected), now)
	}
	booksAgree(t, h.db)
}

func TestReplayMakesTheNextGenerationOfWhatItsModeSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ask  outbox.NewReplay
		want func(h *history) []uuid.UUID
	}{
		"failed":        {outbox.NewReplay{Mode: outbox.ReplayFailed}, func(h *history) []uuid.UUID { return h.failed }},
		"all":           {outbox.NewReplay{Mode: outbox.ReplayAll}, func(h *history) []uuid.UUID { return slices.Concat(h.failed, h.sent) }},
		"all sent":      {outbox.NewReplay{Mode: outbox.ReplayAll, Statuses: []string{"sent"}}, func(h *history) []uuid.UUID { return h.sent }},
		"failed failed": {outbox.NewReplay{Mode: outbox.ReplayFailed, Statuses: []string{"failed"}}, func(h *history) []uuid.UUID { return h.failed }},
		"by type": {outbox.NewReplay{Mode: outbox.ReplayAll, EventTypes: []string{event.OrganizationCreated}}, func(h *history) []uuid.UUID {
			return h.sent[:1] // the first is the only one of this type
		}},
		"another organization": {outbox.NewReplay{Mode: outbox.ReplayAll, OrganizationID: new(uuid.New())}, func(*history) []uuid.UUID { return nil }},
		"before":               {outbox.NewReplay{Mode: outbox.ReplayAll, Until: ago(time.Minute)}, func(*history) []uuid.UUID { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, target{MaxRetries: 4}, 4)
			for scope, id := range map[string]*uuid.UUID{"of all endpoints": nil, "of one endpoint": &h.endpoint} {
				c.ask.EndpointID, c.ask.DryRun = id, true
				if r := h.replay(t, c.ask); r.ID != uuid.Nil || r.Matched == nil || *r.Matched != int64(len(c.want(h))) || count(t, h.db, `sonicus.replays`) != 0 {
					t.Errorf("rehearsal %s: %+v", scope, r)
				}
			}
			c.ask.DryRun = false
			r := h.replay(t, c.ask)
			h.work(t)
			h.is(t, r, c.want(h))
			if n := count(t, h.db, `sonicus.deliveries d JOIN sonicus.queue q ON q.delivery_id = d.id
				WHERE d.replay_id = $1 AND d.generation = 2 AND d.max_attempts = 5 AND d.status = 'pending' AND NOT q.retry AND q.due_at <= clock_timestamp()`, r.ID); n != len(c.want(h)) {
				t.Errorf("%d of %d are due as the second generation", n, len(c.want(h)))
			}
		})
	}
}

// Whoever asks twice gets twice, but never two at once.
func TestOnlyTheNewestDeliveryCounts(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 3)
	first := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayAll})
	h.work(t)
	h.is(t, first, h.sent, h.failed)
	again := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayAll})
	h.work(t)
	h.is(t, again)

	h.end(t, h.endpoint) // as the first time
	third := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayFailed})
	h.work(t)
	h.is(t, third, h.failed)
	if n := count(t, h.db, `sonicus.deliveries WHERE generation = 3 AND replay_id = $1`, third.ID); n != len(h.failed) {
		t.Errorf("%d of %d are the third generation", n, len(h.failed))
	}
	h.sent = slices.Concat(h.sent, h.failed)
	h.end(t, h.endpoint)
	last := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayFailed})
	h.work(t)
	h.is(t, last) // they failed twice, and were sent then
}

func TestReplayOfWhatAnEndpointMissed(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 2)
	all := slices.Concat(h.sent, h.failed, h.queued)
	exec(t, h.db, `UPDATE sonicus.events SET event_type = $1 WHERE event_type <> $2`, event.EndpointDisabled, event.OrganizationCreated) // types that are known
	late := endpoint(t, h.db, target{Events: `["webhook.*"]`})
	other := organization(t, h.db)
	foreign := publish(t, h.db, other, 1)[0].ID
	narrow := endpoint(t, h.db, target{Organization: uuid.NullUUID{UUID: other, Valid: true}})
	filtered := endpoint(t, h.db, target{})
	exec(t, h.db, `UPDATE sonicus.endpoints SET filter = '{}', filter_clauses = '{filter.x}', filter_paths = ARRAY[format('$.data.organization.id == "%s"', $2::text)::jsonpath]
		WHERE id = $1`, filtered, other)
	off := endpoint(t, h.db, target{Inactive: true})
	exec(t, h.db, `UPDATE sonicus.events SET test = true WHERE id = $1`, all[1])
	for name, c := range map[string]struct {
		endpoint uuid.UUID
		want     []uuid.UUID
	}{
		"it had them all": {h.endpoint, nil}, "by type": {late, all[2:]}, "by organization": {narrow, []uuid.UUID{foreign}}, "by filter": {filtered, []uuid.UUID{foreign}},
		"switched off": {off, nil},
	} {
		r := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayMissing, EndpointID: &c.endpoint})
		h.work(t)
		h.is(t, r, c.want)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	again := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayMissing, EndpointID: &late})
	h.work(t)
	h.is(t, again) // it has them now
	if n := count(t, h.db, `sonicus.deliveries WHERE endpoint_id = $1 AND generation <> 2`, late); n != 0 {
		t.Errorf("%d look as if publishing had made them", n)
	}
}

// A test was for the moment in which it was sent, whatever became of it.
func TestReplaysLeaveTestsOut(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 3)
	exec(t, h.db, `UPDATE sonicus.events SET test = true WHERE id = ANY ($1::uuid[])`, pq.Array([]uuid.UUID{h.sent[1], h.failed[0], h.failed[2]}))
	for _, id := range []*uuid.UUID{nil, &h.endpoint} {
		if r := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayAll, EndpointID: id, DryRun: true}); *r.Matched != 3 {
			t.Errorf("rehearsal: %d match, want 3", *r.Matched)
		}
	}
	failed := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayFailed, EndpointID: &h.endpoint})
	h.work(t)
	h.is(t, failed, h.failed[1:2])
	all := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayAll})
	h.work(t)
	h.is(t, all, h.sent[:1], h.sent[2:])
}

func TestReplaysOfTwoDispatchersMakeEachDeliveryOnce(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 400)
	one := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayFailed, RateLimit: new(1000)})
	both := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayAll, RateLimit: new(1000)})
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { h.work(t) })
	}
	all.Wait()
	a, b := h.made(t, one.ID), h.made(t, both.ID)
	if got, want := byIDs(a, b), byIDs(h.sent, h.failed); !slices.Equal(got, want) {
		t.Errorf("%d and %d made, want %d", len(a), len(b), len(want))
	}
	booksAgree(t, h.db)
	if n := count(t, h.db, `(SELECT FROM sonicus.deliveries WHERE replay_id IS NOT NULL GROUP BY replay_id, created_at HAVING count(*) > 100) s`); n != 0 {
		t.Errorf("%d steps made more than a tenth of what a second may have", n)
	}
}

func TestCanceledReplayMakesNoMore(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 30)
	r := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayAll, RateLimit: new(100)})
	h.step(t)
	turns := []struct {
		do   func(context.Context, uuid.UUID) (outbox.Replay, error)
		want string
	}{
		{h.replays.Pause, outbox.ReplayPaused},
		{h.replays.Pause, outbox.ReplayPaused},
		{h.replays.Resume, outbox.ReplayRunning},
		{h.replays.Pause, outbox.ReplayPaused},
		{h.replays.Cancel, outbox.ReplayCanceled},
		{h.replays.Cancel, outbox.ReplayCanceled},
	}
	for i, turn := range turns {
		if got, err := turn.do(t.Context(), r.ID); err != nil || got.State != turn.want {
			t.Fatalf("turn %d: %s %v", i, got.State, err)
		}
		if i == 0 && !h.step(t) {
			t.Error("a paused replay is running")
		}
	}
	h.work(t)
	now := h.get(t, r.ID)
	if now.Created != 10 || now.FinishedAt == nil || len(h.made(t, r.ID)) != 10 {
		t.Errorf("%+v", now)
	}
	if _, err := h.replays.Resume(t.Context(), r.ID); err == nil || !strings.Contains(err.Error(), "replay_over") {
		t.Errorf("resumed: %v", err)
	}
	var actions []string
	if err := h.db.SelectContext(t.Context(), &actions, `SELECT action FROM sonicus.audit_log WHERE object_id = $1 AND actor = 'command line' ORDER BY id`, r.ID.String()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(actions, " "); got != "replay.create replay.pause replay.resume replay.pause replay.cancel" {
		t.Errorf("audit trail: %s", got)
	}
	booksAgree(t, h.db)
}

func TestReplayEndsWithItsEndpoint(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 5)
	r := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayAll, EndpointID: &h.endpoint})
	of := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayAll})
	deleteEndpoint(t, h.db, h.endpoint)
	h.work(t)
	if now := h.get(t, r.ID); now.State != outbox.ReplayGivenUp || *now.FailureReason != outbox.EndpointDeleted || now.Created != 0 {
		t.Errorf("%+v", now)
	}
	if now := h.get(t, of.ID); now.State != outbox.ReplayDone || now.Created != 0 {
		t.Errorf("%+v", now)
	}
	if _, err := h.replays.Create(t.Context(), outbox.NewReplay{Mode: outbox.ReplayAll, EndpointID: &h.endpoint, Since: ago(time.Hour)}); err == nil || !strings.Contains(err.Error(), "unknown_endpoint") {
		t.Errorf("a deleted endpoint: %v", err)
	}
}

// Who is behind in an order stays in order.
func TestReplayJoinsAnOrderedStreamAtItsEnd(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 3)
	exec(t, h.db, `UPDATE sonicus.endpoints SET ordering = 'organization'`)
	waiting := uuid.Nil
	inTx(t, h.db, func(tx *sqlx.Tx, now time.Time) error {
		ev := created(t, h.organization, now)
		ev.Type, waiting = "organization.updated", ev.ID
		_, err := outbox.Publish(t.Context(), tx, ev)
		return err
	})
	r := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayFailed, RateLimit: new(20)})
	h.work(t)
	h.is(t, r, h.failed)
	var events []uuid.UUID
	if err := h.db.SelectContext(t.Context(), &events, `SELECT d.event_id FROM sonicus.queue q JOIN sonicus.deliveries d ON d.id = q.delivery_id WHERE q.position IS NOT NULL ORDER BY q.position`); err != nil {
		t.Fatal(err)
	}
	if len(events) != 4 || events[0] != waiting {
		t.Errorf("in order: %v", events)
	}
	if n := count(t, h.db, `sonicus.queue WHERE position IS NOT NULL AND due_at IS NOT NULL`); n != 1 {
		t.Errorf("%d of the stream are due", n)
	}
}

func TestNoSecondHasMoreDeliveriesThanTheRate(t *testing.T) {
	t.Parallel()
	h := newHistory(t, target{}, 40)
	const rate = 37
	r := h.replay(t, outbox.NewReplay{Mode: outbox.ReplayAll, RateLimit: new(rate)})
	h.work(t)
	h.is(t, r, h.sent, h.failed)
	if n := count(t, h.db, `sonicus.deliveries d WHERE d.replay_id = $1 AND $2 < (
		SELECT count(*) FROM sonicus.deliveries n WHERE n.replay_id = $1 AND n.created_at >= d.created_at AND n.created_at < d.created_at + interval '1 second')`, r.ID, rate); n != 0 {
		t.Errorf("%d seconds with more than %d", n, rate)
	}
}
