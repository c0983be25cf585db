package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

const (
	shallowLanes = 999
	laneLimit    = 5.0 // seconds
)

// measureDeepLane is R7: one endpoint with a million due deliveries, which came
// first, and 999 endpoints with one each.
func measureDeepLane(ctx context.Context, l *lab) (result, error) {
	w, err := l.newWorld(ctx, "r7")
	if err != nil {
		return result{}, err
	}
	deep, err := w.registerAs(ctx, "ok", attemptTimeout)
	if err != nil {
		return result{}, err
	}
	w.label = "r7_shallow" // the sink counts them apart
	shallow, err := w.register(ctx, shallowLanes, "ok", attemptTimeout)
	if err != nil {
		return result{}, err
	}
	if err := w.stopAPI(); err != nil {
		return result{}, err
	}
	l.step("loading %s deliveries of one endpoint", thousands(float64(l.pace.deep)))
	if err := w.pending(ctx, l.pace.deep, []uuid.UUID{deep}); err != nil {
		return result{}, err
	}
	var took []float64
	foreign := l.watch()
	for range l.pace.repeats {
		if err := w.pending(ctx, shallowLanes, shallow); err != nil {
			return result{}, err
		}
		if err := w.vacuum(ctx); err != nil {
			return result{}, err
		}
		if err := l.checkpoint(ctx); err != nil {
			return result{}, err
		}
		seconds, err := w.untilShallowDone(ctx, int64(len(took)+1)*shallowLanes)
		if err != nil {
			return result{}, err
		}
		l.say("%d/%d  all 999 after %.2f s", len(took)+1, l.pace.repeats, seconds)
		took = append(took, seconds)
	}
	m := median(took)
	r := result{
		Figure: fmt.Sprintf("%.2f s", m), Met: m <= laneLimit, Values: map[string]float64{"seconds": m, "worst_seconds": percentile(took, 1)},
		Foreign: known(foreign()),
	}
	r.note("from the dispatcher's start to the arrival of the last of the 999; median of %d, worst %.2f s; %s due deliveries of one endpoint beside them",
		len(took), percentile(took, 1), thousands(float64(l.pace.deep)))
	return r, nil
}

// untilShallowDone starts a dispatcher and waits until so many have arrived.
func (w *world) untilShallowDone(ctx context.Context, want int64) (float64, error) {
	w.step("delivering to %d endpoints beside the deep one", shallowLanes)
	c, err := w.dispatch(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now() // the dispatcher was ready a moment ago
	profiled := w.profile(ctx, c)
	for limit := began.Add(2 * time.Minute); ; {
		counts, err := w.counts(ctx)
		if err != nil {
			return 0, err
		}
		seconds := time.Since(began).Seconds()
		if counts.Requests[w.label] >= want {
			if err := profiled(); err != nil {
				return 0, err
			}
			return seconds, c.stop()
		}
		if err := c.alive(); err != nil {
			return 0, err
		}
		if time.Now().After(limit) {
			return 0, fmt.Errorf("of %d only %d arrived within 2 minutes", want, counts.Requests[w.label])
		}
		if !waitFor(ctx, 5*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
}
