package main

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"
)

// dispatcherReady: both lines are logged before the first claim.
var dispatcherReady = regexp.MustCompile(`(?s)"msg":"dispatcher started"[^\n]*"admin_address":"([^"]+)".*"msg":"dispatcher ready"`)

// dispatch starts the built dispatcher with the shipped settings and those given.
func (w *world) dispatch(ctx context.Context, settings ...string) (*child, error) {
	program, err := bin("dispatcher")
	if err != nil {
		return nil, err
	}
	c, err := w.spawn(program, append(w.settings(), settings...))
	if err != nil {
		return nil, err
	}
	found, err := c.await(ctx, dispatcherReady)
	if err != nil {
		return nil, err
	}
	c.admin = found[1]
	return c, nil
}

// deliveries is a side: the dispatcher at work on a backlog that does not end
// within the slice. Every slice has a dispatcher process of its own, so that
// it does not cost the other sides anything; what it does until it is warm is
// not measured.
type deliveries struct {
	*world
	name     string
	backlog  []uuid.UUID                     // endpoints that the backlog is for
	others   func(ctx context.Context) error // fills up what is not counted; may be nil
	settings []string
	warm     time.Duration
	rate     float64 // deliveries/s to expect
}

const firstGuess = 20_000 // deliveries/s, for the size of the first backlog

func (d *deliveries) side() side {
	return side{name: d.name, prepare: d.prepare, run: d.run}
}

// prepare fills the backlog up.
func (d *deliveries) prepare(ctx context.Context) error {
	if d.rate == 0 {
		d.rate = firstGuess
	}
	need := int(d.rate * 1.3 * (d.warm + d.pace.slice + time.Second).Seconds())
	have, err := d.queued(ctx, d.backlog)
	if err != nil {
		return err
	}
	if have < need {
		if err := d.pending(ctx, need-have, d.backlog); err != nil {
			return err
		}
	}
	if d.others != nil {
		if err := d.others(ctx); err != nil {
			return err
		}
	}
	if err := d.vacuum(ctx); err != nil {
		return err
	}
	return d.checkpoint(ctx)
}

// run starts the dispatcher, measures, stops it, and looks whether all that
// arrived was settled.
func (d *deliveries) run(ctx context.Context) (sample, error) {
	c, err := d.dispatch(ctx, d.settings...)
	if err != nil {
		return sample{}, err
	}
	got, err := d.window(ctx, d.label, d.warm, c)
	if err != nil {
		return sample{}, err
	}
	if err := c.stop(); err != nil {
		return sample{}, err
	}
	left, err := d.queued(ctx, d.backlog)
	if err != nil {
		return sample{}, err
	}
	if left == 0 {
		d.rate = max(d.rate, got.rate) * 2
		return sample{}, errRanDry
	}
	d.rate = max(d.rate/2, got.rate) // the first guess may have been far too high
	return got, d.check(ctx, left)
}

// check compares the books: what is loaded and not queued any more has arrived,
// exactly once. Otherwise the rate would count what does not count.
func (d *deliveries) check(ctx context.Context, left int) error {
	counts, err := d.counts(ctx)
	if err != nil {
		return err
	}
	if arrived, settled := counts.Requests[d.label], d.loaded.Load()-int64(left); arrived != settled {
		return fmt.Errorf("%d requests arrived, but %d deliveries are settled", arrived, settled)
	}
	return nil
}
