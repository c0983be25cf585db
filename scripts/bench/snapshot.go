package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Row R3 feeds the queue while it is being worked off: a backlog for all of it
// would be a table of another size, and take minutes to load. The feeder works the same
// before the snapshot and under it.
const (
	feedLow  = 40_000 // deliveries in the queue below which another batch is fed
	feedSize = 10_000
)

// measureSnapshot is R3.
func measureSnapshot(ctx context.Context, l *lab) (result, error) {
	d, err := l.ordinary(ctx, "r3", usualEndpoints)
	if err != nil {
		return result{}, err
	}
	if err := d.pending(ctx, 2*feedLow, d.backlog); err != nil {
		return result{}, err
	}
	if err := d.vacuum(ctx); err != nil {
		return result{}, err
	}
	if err := l.checkpoint(ctx); err != nil {
		return result{}, err
	}
	c, err := d.dispatch(ctx)
	if err != nil {
		return result{}, err
	}
	stop, fed := make(chan struct{}), make(chan error, 1)
	go func() { fed <- d.feed(ctx, stop) }()
	before, after, err := d.aroundSnapshot(ctx, c)
	close(stop)
	if err := errors.Join(err, <-fed); err != nil {
		return result{}, err
	}
	if err := c.stop(); err != nil {
		return result{}, err
	}
	left, err := d.queued(ctx, nil)
	if err != nil {
		return result{}, err
	}
	r := ratio([]sample{after}, []sample{before}, 0.95)
	r.Best, r.Notes = "", nil
	r.note("%s/s in the last %s of %s, %s/s in the %s before; new deliveries are committed all the time, on both sides",
		thousands(after.rate), l.pace.window, l.pace.held, thousands(before.rate), l.pace.window)
	return r, d.check(ctx, left)
}

// aroundSnapshot measures, takes a snapshot, and measures the last part of the
// time for which it is held.
func (d *deliveries) aroundSnapshot(ctx context.Context, c *child) (before, after sample, err error) {
	if err := d.firstArrival(ctx, d.label, 0, c); err != nil {
		return before, after, err
	}
	if !waitFor(ctx, 3*d.pace.warm) {
		return before, after, ctx.Err()
	}
	d.step("measuring before the snapshot for %s", d.pace.window)
	if before, err = d.measure(ctx, d.label, d.pace.window, nil); err != nil {
		return before, after, err
	}
	d.say("before: %s/s", thousands(before.rate))
	let, err := d.hold(ctx)
	if err != nil {
		return before, after, err
	}
	defer func() { err = errors.Join(err, let()) }()
	for held := time.Duration(0); held < d.pace.held-d.pace.window; held += d.pace.window {
		s, err := d.measure(ctx, d.label, min(d.pace.window, d.pace.held-d.pace.window-held), nil)
		if err != nil {
			return before, after, err
		}
		d.say("%s under the snapshot: %s/s", held+d.pace.window, thousands(s.rate))
	}
	after, err = d.measure(ctx, d.label, d.pace.window, c)
	if math.IsNaN(after.rate) && err == nil {
		err = errors.New("nothing was measured")
	}
	return before, after, err
}

// hold opens a transaction with a snapshot and an id of its own, and leaves it idle.
func (d *deliveries) hold(ctx context.Context) (let func() error, err error) {
	conn, err := d.db.Connx(ctx)
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		`BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT pg_current_xact_id()`, `SELECT count(*) FROM sonicus.endpoints`,
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return nil, errors.Join(fmt.Errorf("hold a snapshot: %w", err), conn.Close())
		}
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := conn.ExecContext(ctx, `ROLLBACK`)
		return errors.Join(err, conn.Close())
	}, nil
}

// feedLead: a batch is due when it has been committed, as single commits are. Otherwise
// the dispatcher would find it among what it has already passed.
const feedLead = 200 * time.Millisecond

// feed keeps the queue filled until stop is closed.
func (d *deliveries) feed(ctx context.Context, stop <-chan struct{}) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		counts, err := d.counts(ctx)
		if err != nil {
			return err
		}
		if d.loaded.Load()-counts.Requests[d.label] >= feedLow {
			continue
		}
		now, err := d.now(ctx)
		if err != nil {
			return err
		}
		batch := load{
			events: feedSize, endpoints: d.backlog, fanout: 1, from: now.Add(-feedSize * time.Microsecond), to: now, lead: feedLead,
		}
		if err := d.copyIn(ctx, batch); err != nil {
			return err
		}
	}
}
