package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/webhook"
)

const (
	// groupSize and groupWait bound a settle transaction: one per result would
	// cost some twenty times the work in Postgres (measured).
	groupSize = 500
	groupWait = 8 * time.Millisecond
	// groupEnough results are not made to wait for more; fewer where there are few slots.
	groupEnough = 200
	// parkedFor leaves an operator time to look at broken books.
	parkedFor = 24 * time.Hour
	// settlePause is the longest pause between two tries while settling fails.
	settlePause = 2 * time.Second
)

// finished is a result on its way to the books.
type finished struct {
	result outbox.Result
	gone   bool // the endpoint answered 410
}

// settler records results in groups. While Postgres is away it keeps them and
// tries again; the dispatcher claims nothing meanwhile, or it would claim what it
// has already sent.
type settler struct {
	db       *postgres.DB
	settings Settings
	log      *slog.Logger
	lanes    *lanes
	stats    *statistics
	counters *Counters
	queue    chan finished
	stuck    atomic.Bool
	recorded func(n int)        // gives the slots of n results back
	shut     func(uuid.UUID)    // takes back what waits for an endpoint
	news     map[uuid.UUID]news // what was last recorded of each endpoint
}

func newSettler(db *postgres.DB, settings Settings, log *slog.Logger, lanes *lanes, stats *statistics, counters *Counters, recorded func(n int), shut func(uuid.UUID)) *settler {
	return &settler{
		db: db, settings: settings, log: log, lanes: lanes, stats: stats, counters: counters,
		queue: make(chan finished, lanes.total), recorded: recorded, shut: shut, news: map[uuid.UUID]news{},
	}
}

// add hands a result over. There is room for one from every slot.
func (s *settler) add(f finished) { s.queue <- f }

// close says that no more results come.
func (s *settler) close() { close(s.queue) }

// behind says whether results wait for a database that does not answer.
func (s *settler) behind() bool { return s.stuck.Load() }

// run records results until close, and all that came before it. It gives up only
// when ctx ends, with [ErrUnsettled].
func (s *settler) run(ctx context.Context) error {
	lost := 0
	for {
		group, open := s.gather()
		if !s.settleAll(ctx, group) {
			lost += len(group)
		}
		s.recorded(len(group))
		s.caughtUp()
		if !open {
			break
		}
	}
	if lost > 0 {
		return fmt.Errorf("%w: %d deliveries may be sent again", ErrUnsettled, lost)
	}
	return nil
}

// caughtUp ends being behind, once nothing is left that a claim could overtake.
func (s *settler) caughtUp() {
	if len(s.queue) == 0 && s.stuck.Swap(false) {
		s.log.Info("recording results again")
		poke(s.lanes.wake)
	}
}

// gather waits for a result and takes those that follow closely.
func (s *settler) gather() (group []finished, open bool) {
	first, open := <-s.queue
	if !open {
		return nil, false
	}
	group = append(group, first)
	deadline := time.NewTimer(groupWait)
	defer deadline.Stop()
	for len(group) < groupSize {
		if len(group) >= min(groupEnough, max(1, s.lanes.total/3)) && len(s.queue) == 0 {
			return group, true
		}
		select {
		case f, open := <-s.queue:
			if !open {
				return group, false
			}
			group = append(group, f)
		case <-deadline.C:
			return group, true
		}
	}
	return group, true
}

// settleAll tries until the group is recorded or ctx ends. A group that Postgres
// refuses for what is in it is halved until the culprit stands alone; that one is
// recorded without the receiver's words.
func (s *settler) settleAll(ctx context.Context, group []finished) bool {
	if len(group) == 0 {
		return true
	}
	err := s.untilAnswered(ctx, group)
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil:
		s.log.Error("results not recorded", slog.Int("results", len(group)), slog.Any("error", err))
		return false
	case len(group) > 1:
		half := len(group) / 2
		first, second := s.settleAll(ctx, group[:half]), s.settleAll(ctx, group[half:])
		return first && second
	case group[0].result.ResponseBody != "" || group[0].result.ResponseHeaders != "" || group[0].result.Error != unstorable:
		s.log.Error("result refused, recording it without the response",
			slog.String("delivery_id", group[0].result.DeliveryID.String()), slog.Any("error", err))
		return s.settleAll(ctx, []finished{withoutResponse(group[0])})
	default:
		s.park(ctx, group[0], err)
		return false
	}
}

// park puts off a delivery whose result can never be recorded, which means that
// its books are broken: at the end of its lease it would be sent again, and again.
func (s *settler) park(ctx context.Context, f finished, cause error) {
	s.log.Error("result cannot be recorded, delivery postponed", slog.String("delivery_id", f.result.DeliveryID.String()),
		slog.Duration("wait", parkedFor), slog.Any("error", cause))
	if err := outbox.Release(ctx, s.db, []outbox.Claimed{f.result.Claimed}, parkedFor); err != nil {
		s.log.Error("delivery not postponed", slog.String("delivery_id", f.result.DeliveryID.String()), slog.Any("error", err))
	}
}

const unstorable = "the response could not be stored"

func withoutResponse(f finished) finished {
	f.result.ResponseBody, f.result.ResponseHeaders, f.result.Error = "", "", unstorable
	return f
}

// untilAnswered settles the group as soon as the database is there. The same
// group may be settled twice, when the answer to COMMIT is lost: that is safe.
func (s *settler) untilAnswered(ctx context.Context, group []finished) error {
	for tries := 1; ; tries++ {
		err := s.settle(ctx, group)
		if err == nil || !postgres.Unavailable(err) || ctx.Err() != nil {
			return err
		}
		if !s.stuck.Swap(true) {
			s.log.Error("cannot record results, keeping them", slog.Any("error", err), slog.Int("results", len(group)))
		}
		pause(ctx, nil, min(50*time.Millisecond<<min(tries, 8), settlePause))
	}
}

// settled is what a settling transaction has found.
type settled struct {
	at       time.Time   // by the database's clock
	late     []uuid.UUID // deliveries
	promoted []outbox.Work
	health   outbox.Health
	disabled []endpoint.Disabled
	told     []uuid.UUID // endpoints that get an operational event
}

// settle records a group in one transaction: the attempts, and what they say of
// their endpoints.
func (s *settler) settle(ctx context.Context, group []finished) error {
	results := make([]outbox.Result, len(group))
	var gone []uuid.UUID
	for i, f := range group {
		results[i] = f.result
		if f.gone {
			gone = append(gone, f.result.EndpointID)
		}
	}
	outcomes := s.outcomes(time.Now(), results)
	var done settled
	err := postgres.InTx(ctx, s.db, func(tx *postgres.Tx, now time.Time) (err error) {
		done = settled{at: now}
		if done.late, err = outbox.Settle(ctx, tx, s.settings.Name, results); err != nil {
			return err
		}
		if done.promoted, err = outbox.Promote(ctx, tx, results); err != nil {
			return err
		}
		if done.health, err = outbox.RecordHealth(ctx, tx, now, outcomes, s.settings.Breaker); err != nil {
			return err
		}
		if err := s.disable(ctx, tx, now, gone, &done); err != nil {
			return err
		}
		return tellOf(ctx, tx, now, results, &done)
	})
	if err == nil {
		s.learned(results, outcomes, done)
	}
	return err
}

// disable switches off the endpoints that want no more, or have failed for too
// long, and publishes that.
func (s *settler) disable(ctx context.Context, tx *postgres.Tx, now time.Time, gone []uuid.UUID, done *settled) error {
	for _, off := range []struct {
		ids    []uuid.UUID
		reason string
	}{{gone, event.DisabledGone}, {done.health.Hopeless, event.DisabledFailing}} {
		disabled, err := endpoint.Disable(ctx, tx, off.ids, off.reason)
		if err != nil {
			return err
		}
		done.disabled = append(done.disabled, disabled...)
	}
	for _, d := range done.disabled {
		ev, err := event.NewEndpointDisabled(postgres.NewID(now), now, event.DisabledEndpoint{
			Endpoint:       event.Endpoint{ID: d.ID, Name: d.Name, URL: d.URL, OrganizationID: d.OrganizationID},
			DisabledReason: d.Reason, DisabledAt: event.Timestamp(d.At), FailingSince: (*event.Timestamp)(d.FailingSince),
		})
		if err != nil {
			return err
		}
		if err := tell(ctx, tx, ev, done); err != nil {
			return err
		}
	}
	return nil
}

// learned tells the log and the lanes, once the transaction has committed.
func (s *settler) learned(results []outbox.Result, outcomes []outbox.Outcome, done settled) {
	now := time.Now()
	for _, r := range results {
		if r.Status == outbox.Retrying {
			s.lanes.note(outbox.Lane{EndpointID: r.EndpointID, Retry: true}, time.Time{}, now.Add(r.RetryIn))
		}
	}
	for _, id := range done.told {
		s.lanes.note(outbox.Lane{EndpointID: id}, time.Time{}, now)
	}
	s.lanes.found(now, done.promoted)
	for _, id := range done.health.Shut {
		s.shut(id)
	}
	s.remember(now, outcomes)
	s.stats.note(done.at, results, done.late)
	s.counters.LateResults.Add(int64(len(done.late)))
	for _, id := range done.late {
		s.log.Warn("late result: the lease had been taken over, the receiver may have the event twice", slog.String("delivery_id", id.String()))
	}
	for _, c := range done.health.Changes {
		s.logChange(c)
		if c.To == outbox.Closed { // the backlog may go
			s.lanes.note(outbox.Lane{EndpointID: c.EndpointID}, time.Time{}, now)
			s.lanes.note(outbox.Lane{EndpointID: c.EndpointID, Retry: true}, time.Time{}, now)
		}
	}
	for _, d := range done.disabled {
		s.log.Error("endpoint switched off", slog.String("endpoint_id", d.ID.String()), slog.String("endpoint_name", d.Name),
			slog.String("url", webhook.WithoutQuery(d.URL)), slog.String("disabled_reason", d.Reason))
	}
}

func (s *settler) logChange(c outbox.Change) {
	level, attrs := slog.LevelInfo, []slog.Attr{
		slog.String("endpoint_id", c.EndpointID.String()), slog.String("from", string(c.From)), slog.String("to", string(c.To)),
	}
	if c.To == outbox.Open {
		level = slog.LevelWarn
		attrs = append(attrs, slog.Int("failures", c.Failures), slog.Time("until", *c.Until))
	}
	s.log.LogAttrs(context.Background(), level, "circuit breaker", attrs...)
}
