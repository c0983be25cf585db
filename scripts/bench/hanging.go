package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

const (
	// hangingTimeout is that of the endpoints that hang. It is shorter than the
	// default so that a slice sees what comes after the first timeouts.
	hangingTimeout = 2 * time.Second
	// hangingBacklog is more than an endpoint that hangs can use up.
	hangingBacklog = 2000
)

// measureHanging is R6, with ten endpoints, of which two hang, and with fifty, of
// which ten do: with the shipped settings those could hold every slot. The figure
// is the worse of the two.
func measureHanging(ctx context.Context, l *lab) (result, error) {
	small, err := l.hangingAmong(ctx, 10)
	if err != nil {
		return result{}, err
	}
	large, err := l.hangingAmong(ctx, 50)
	if err != nil {
		return result{}, err
	}
	r := small
	if large.Values["ratio"] < small.Values["ratio"] {
		r = large
	}
	r.Notes = slices.Concat(small.Notes, large.Notes)
	r.Values = map[string]float64{
		"ratio": r.Values["ratio"], "ratio_2_of_10": small.Values["ratio"], "ratio_10_of_50": large.Values["ratio"],
	}
	r.note("the healthy endpoints' deliveries alone are counted; those that hang time out after %s; the figure is the worse of the two", hangingTimeout)
	return r, nil
}

// hangingAmong compares n endpoints, a fifth of which hang, with n that are well.
func (l *lab) hangingAmong(ctx context.Context, n int) (result, error) {
	well, err := l.ordinary(ctx, fmt.Sprintf("r6_well_%d", n), n)
	if err != nil {
		return result{}, err
	}
	well.name = fmt.Sprintf("%d endpoints", n)
	ill, err := l.withHanging(ctx, n)
	if err != nil {
		return result{}, err
	}
	// Attempts that hang are cut off when the slice is over.
	well.settings = []string{"SONICUS_SHUTDOWN_GRACE=1s"}
	ill.settings = well.settings
	well.warm, ill.warm = hangingTimeout, hangingTimeout
	samples, err := l.alternate(ctx, ill.side(), well.side())
	if err != nil {
		return result{}, err
	}
	r := ratio(samples[0], samples[1], 0.95)
	r.Notes = nil
	r.note("%d of %d hang: %s, best/best %s (median %s/s against %s/s)", n/5, n, r.Figure, r.Best,
		thousands(r.Values["over_per_second"]), thousands(r.Values["under_per_second"]))
	return r, nil
}

func (l *lab) withHanging(ctx context.Context, n int) (*deliveries, error) {
	label := fmt.Sprintf("r6_ill_%d", n)
	w, err := l.newWorld(ctx, label)
	if err != nil {
		return nil, err
	}
	// Endpoints are visited in the order of their ids: the ones that hang stand among the others.
	var healthy, ill []uuid.UUID
	for i := range n {
		behaviour, timeout := "ok", attemptTimeout
		if i%5 == 2 {
			behaviour, timeout = "hang", hangingTimeout
		}
		id, err := w.registerAs(ctx, behaviour, timeout)
		if err != nil {
			return nil, err
		}
		if behaviour == "ok" {
			healthy = append(healthy, id)
		} else {
			ill = append(ill, id)
		}
	}
	d := &deliveries{world: w, name: fmt.Sprintf("%d endpoints, %d of them hang", n, n/5), backlog: healthy}
	d.others = func(ctx context.Context) error {
		have, err := d.queued(ctx, ill)
		if err != nil || have >= hangingBacklog*len(ill)/2 {
			return err
		}
		before := d.loaded.Load() // only what is for the healthy ones counts
		defer d.loaded.Store(before)
		return d.pending(ctx, hangingBacklog*len(ill), ill)
	}
	return d, w.stopAPI()
}
