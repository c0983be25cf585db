package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// measureCreate is R4: two apis, one with an endpoint that matches. No dispatcher
// runs, so what is compared is the transaction with an event that somebody wants
// and the one without.
func measureCreate(ctx context.Context, l *lab) (result, error) {
	matching, err := l.newWorld(ctx, "r4_one")
	if err != nil {
		return result{}, err
	}
	if _, err := matching.register(ctx, 1, "ok", attemptTimeout); err != nil {
		return result{}, err
	}
	none, err := l.newWorld(ctx, "r4_none")
	if err != nil {
		return result{}, err
	}
	samples, err := l.alternate(ctx, matching.creating("with a matching endpoint"), none.creating("with no endpoint"))
	if err != nil {
		return result{}, err
	}
	r := ratio(samples[0], samples[1], 0.70)
	r.note("%d clients with connections of their own, no dispatcher running", createClients)
	return r, nil
}

// creating is a side: clients that create organizations one after the other.
func (w *world) creating(name string) side {
	return side{name: name, prepare: w.checkpoint, run: func(ctx context.Context) (sample, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var created atomic.Int64
		var clients sync.WaitGroup
		var stopped atomic.Bool
		for range createClients {
			clients.Go(func() {
				for !stopped.Load() && ctx.Err() == nil {
					if _, err := w.createOrganization(ctx); err != nil {
						cancel(err)
						return
					}
					created.Add(1)
				}
			})
		}
		defer clients.Wait()
		defer stopped.Store(true)
		if !waitFor(ctx, w.pace.warm) {
			return sample{}, context.Cause(ctx)
		}
		foreign := w.watch()
		from, began := created.Load(), time.Now()
		profiled := w.profile(ctx, w.api)
		waitFor(ctx, w.pace.slice)
		got := sample{rate: float64(created.Load()-from) / time.Since(began).Seconds(), foreign: foreign()}
		if err := profiled(); err != nil {
			return sample{}, err
		}
		return got, context.Cause(ctx)
	}}
}
