package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

const (
	// groupSize and groupWait bound a settle transaction: one per result would
	// cost some twenty times the work in Postgres (measured).
	groupSize = 500
	groupWait = 3 * time.Millisecond
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
	db    *postgres.DB
	name  string
	log   *slog.Logger
	slots *flights
	queue chan finished
	stuck atomic.Bool
}

func newSettler(db *postgres.DB, name string, log *slog.Logger, slots *flights) *settler {
	return &settler{db: db, name: name, log: log, slots: slots, queue: make(chan finished, slots.total)}
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
		s.slots.end(len(group))
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
		poke(s.slots.wake)
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

func (s *settler) settle(ctx context.Context, group []finished) error {
	results, outcomes := make([]outbox.Result, len(group)), make([]endpoint.Outcome, len(group))
	for i, f := range group {
		results[i] = f.result
		outcomes[i] = endpoint.Outcome{EndpointID: f.result.EndpointID, Success: f.result.Status == outbox.Sent, Gone: f.gone}
	}
	return postgres.InTx(ctx, s.db, func(tx *postgres.Tx, _ time.Time) error {
		late, err := outbox.Settle(ctx, tx, s.name, results)
		if err != nil {
			return err
		}
		for _, id := range late {
			s.log.Warn("late result: the lease had been taken over, the receiver may have the event twice", slog.String("delivery_id", id.String()))
		}
		return endpoint.Record(ctx, tx, outcomes)
	})
}
