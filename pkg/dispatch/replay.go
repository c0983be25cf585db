package dispatch

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// replayShortest is the least time between two looks at replays that others work on.
const replayShortest = 10 * time.Millisecond

// replayPutOff is how many poll intervals a replay waits after a fault.
const replayPutOff = 5

// replayLoop takes the replays on that administrators have asked for, one bounded step
// after another, until ctx ends. It is apart from the claims, so that these are held up
// by none; all that a replay makes goes through them.
func (d *Dispatcher) replayLoop(ctx context.Context) {
	for ctx.Err() == nil {
		step, err := d.replayStep(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			d.replayFailed(ctx, step.Replay, err)
			pause(ctx, nil, d.settings.PollInterval)
		case step.Replay.ID != uuid.Nil:
			d.replayed(step)
		case step.Again > 0:
			pause(ctx, nil, min(max(step.Again, replayShortest), d.settings.PollInterval))
		default:
			pause(ctx, nil, d.settings.PollInterval)
		}
	}
}

func (d *Dispatcher) replayStep(ctx context.Context) (outbox.ReplayStep, error) {
	short, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	return outbox.StepReplay(short, d.db)
}

// replayed tells of what a step has made: this process at once, and all others.
func (d *Dispatcher) replayed(step outbox.ReplayStep) {
	if step.Created > 0 {
		d.counters.ReplayedDeliveries.Add(int64(step.Created))
		lanes := make([]outbox.Lane, len(step.Endpoints))
		for i, id := range step.Endpoints {
			lanes[i] = outbox.Lane{EndpointID: id}
		}
		d.Heard(lanes)
		d.hinter.HintLanes(lanes)
	}
	if r := step.Replay; r.Over() {
		attrs := []any{slog.String("replay_id", r.ID.String()), slog.String("state", r.State), slog.Int64("created", r.Created)}
		if r.FailureReason != nil {
			attrs = append(attrs, slog.String("failure_reason", *r.FailureReason))
		}
		d.log.Info("replay ended", attrs...)
	}
}

// replayFailed gives up the replay that cannot go on, so that it holds up no other. A
// database that is away, or takes too long, says nothing of it: then it is only the
// others' turn for a while.
func (d *Dispatcher) replayFailed(ctx context.Context, r outbox.Replay, err error) {
	short, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	if r.ID == uuid.Nil || postgres.Unavailable(err) {
		d.log.Warn("replays not taken on, trying again", slog.Any("error", err))
		if r.ID != uuid.Nil {
			_ = outbox.PutOffReplay(short, d.db, r.ID, replayPutOff*d.settings.PollInterval) // without it, only the order of replays is another
		}
		return
	}
	d.log.Error("replay given up", slog.String("replay_id", r.ID.String()), slog.Any("error", err))
	if err := outbox.FailReplay(short, d.db, r.ID); err != nil && ctx.Err() == nil {
		d.log.Warn("replay not given up, trying again", slog.Any("error", err))
	}
}
