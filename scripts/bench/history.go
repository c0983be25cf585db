package main

import (
	"context"
	"sync/atomic"
	"time"
)

// historyFanout is how many deliveries each event of the history has.
const historyFanout = 10

// measureHistory is R2: two databases that differ in what has been delivered
// before, the dispatcher working on one and then on the other.
func measureHistory(ctx context.Context, l *lab) (result, error) {
	full, err := l.ordinary(ctx, "r2_full", usualEndpoints)
	if err != nil {
		return result{}, err
	}
	full.name = "with " + thousands(float64(l.pace.history)) + " settled"
	if err := full.loadHistory(ctx, l.pace.history); err != nil {
		return result{}, err
	}
	none, err := l.ordinary(ctx, "r2_empty", usualEndpoints)
	if err != nil {
		return result{}, err
	}
	none.name = "with none settled"
	samples, err := l.alternate(ctx, full.side(), none.side())
	if err != nil {
		return result{}, err
	}
	r := ratio(samples[0], samples[1], 0.97)
	r.note("%s settled deliveries of %s events of %d bytes, with their attempts, of yesterday and today; %d endpoints; shared_buffers 128 MB",
		thousands(float64(l.pace.history)), thousands(float64(l.pace.history/historyFanout)), payloadSize, usualEndpoints)
	return r, nil
}

// loadHistory fills yesterday's and today's partitions: the api makes no older ones.
func (d *deliveries) loadHistory(ctx context.Context, n int) error {
	now, err := d.now(ctx)
	if err != nil {
		return err
	}
	var loaded atomic.Int64
	done := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		d.tellLoaded(&loaded, n, done)
	}()
	err = d.copyIn(ctx, load{
		events: n / historyFanout, endpoints: d.endpoints, fanout: historyFanout, settled: true,
		from: now.UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour), to: now.Add(-time.Minute), done: &loaded,
	})
	close(done)
	<-told
	if err != nil {
		return err
	}
	d.step("vacuuming %s settled deliveries", thousands(float64(n)))
	if err := d.vacuum(ctx); err != nil {
		return err
	}
	return d.checkpoint(ctx)
}

func (d *deliveries) tellLoaded(loaded *atomic.Int64, n int, done <-chan struct{}) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			d.step("loading settled deliveries: %s of %s", thousands(float64(loaded.Load())), thousands(float64(n)))
		}
	}
}
