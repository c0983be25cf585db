// Package dispatch owns the timing: when to claim deliveries, how many to have in
// flight, whether to try again and when, and how to stop. The SQL is in outbox
// and the HTTP in webhook. First attempt and retry are one path:
//
//	claim ─► attempt ─► decide ─► settle
//
// lanes is its memory: which lanes may have work, and what each receiver can take.
// Hints, a look at what is new once per poll interval, and a sweep every few
// seconds fill it. Only the sweep is the truth; the others shorten the wait for it.
package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// Settings are the operator's; none has a default here.
type Settings struct {
	Name         string        // of this process, in the log of attempts
	Concurrency  int           // requests begun and not yet recorded: what a crash may repeat
	PerEndpoint  int           // requests in flight per endpoint, unless it has a limit of its own
	PollInterval time.Duration // longest time between two looks at the queue
	Grace        time.Duration // how long a stop waits for attempts in flight
	Retry        Schedule
	Breaker      outbox.BreakerPolicy
}

// Counters count what an operator should know of, since the start.
type Counters struct {
	// LateResults came after their lease had been taken over; see [outbox.Settle].
	LateResults atomic.Int64
	// DuplicateSends are attempts at deliveries whose earlier lease had ended
	// without a result: the receiver may have had the request before.
	DuplicateSends atomic.Int64
	// ReplayedDeliveries were made by replays: the receiver may have had the event before.
	ReplayedDeliveries atomic.Int64
}

// A Dispatcher delivers what the outbox holds. Any number of them work on one
// database, without knowing of each other.
type Dispatcher struct {
	db       *postgres.DB
	sender   *webhook.Sender
	settings Settings
	log      *slog.Logger

	lanes     *lanes
	endpoints *endpoints
	settler   *settler
	stats     *statistics
	hinter    *outbox.Hinter
	counters  Counters
	wake      chan struct{}   // there may be something to claim
	unknown   atomic.Bool     // a hint named no endpoints
	sending   context.Context // of all requests
	attempts  sync.WaitGroup

	mu       sync.Mutex
	giveBack []outbox.Claimed // leases whose attempt did not take place
}

// New makes a dispatcher. It does nothing before Run.
func New(db *postgres.DB, sender *webhook.Sender, box *secret.Box, settings Settings, log *slog.Logger) *Dispatcher {
	d := &Dispatcher{db: db, sender: sender, settings: settings, log: log, hinter: outbox.NewHinter(db, log), wake: make(chan struct{}, 1)}
	d.lanes = newLanes(settings.Concurrency, settings.PerEndpoint, d.wake)
	d.endpoints = newEndpoints(db, box, sender, d.lanes)
	d.stats = newStatistics(db, log)
	d.settler = newSettler(db, settings, log, d.lanes, d.stats, &d.counters, func(n int) { d.slotsFree(d.sending, n) }, d.withdraw)
	return d
}

// Counters returns what is counted; it goes on counting.
func (d *Dispatcher) Counters() *Counters { return &d.counters }

// ErrUnsettled: the process had to stop before it could record every result. The
// deliveries concerned are sent again when their leases end.
var ErrUnsettled = errors.New("stopped with results that are not recorded")

// ErrAborted: the process was told not to wait for attempts in flight.
var ErrAborted = errors.New("stopped at once")

// lastWords is how long recording and giving back may take when there is no grace left.
const lastWords = time.Second

// Run delivers until ctx ends, then drains: it claims no more, lets attempts in
// flight end within the grace period, records their results, gives back the
// leases of all others, and returns nil. When abort ends too, it waits for
// nothing: attempts are cut off, and their leases given back. A database that
// does not answer keeps it for little longer than the grace period.
func (d *Dispatcher) Run(ctx, abort context.Context) error {
	sending, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	d.sending = sending
	settling, stopSettling := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSettling()
	settled := make(chan error, 1)
	go func() { settled <- d.settler.run(settling) }()
	sweeping := ended(func() { d.sweepLoop(ctx) })
	clearing := ended(func() { d.staleLoop(ctx) })
	abandoning := ended(func() { d.abandonLoop(ctx) })
	replaying := ended(func() { d.replayLoop(ctx) })
	hinting := ended(func() { d.hinter.Run(ctx) })
	counting := ended(func() { d.stats.run(ctx) })
	claiming := ended(func() { d.claimLoop(ctx, sending) })

	<-ctx.Done()
	d.log.Info("draining", slog.Int("in_flight", d.lanes.count()))
	grace, cancel := context.WithTimeout(abort, d.settings.Grace)
	defer cancel()
	wait(grace, claiming)
	wait(grace, sweeping)
	wait(grace, clearing)
	wait(grace, abandoning)
	wait(grace, replaying)
	wait(grace, hinting)
	wait(grace, counting)
	for _, c := range d.lanes.stale(time.Now(), -1) { // what waits for its receiver
		d.giveUpLease(c)
	}
	giving := ended(func() { d.releaseAll(d.settings.Grace) })
	attempts := ended(d.attempts.Wait)
	if !wait(grace, attempts) {
		d.log.Warn("cutting off attempts", slog.Int("in_flight", d.lanes.count()))
	}
	cutOff()
	<-attempts
	d.settler.close()
	err := d.awaitSettled(grace, settled, stopSettling)
	wait(grace, giving)
	last, done := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer done()
	wait(last, ended(func() { d.releaseAll(lastWords) }))
	d.lastStatistics(grace, last)
	d.sender.CloseIdle()
	if abort.Err() != nil {
		return errors.Join(ErrAborted, err)
	}
	return err
}

// lastStatistics writes what is left of them, while there is grace within a moment.
func (d *Dispatcher) lastStatistics(grace, last context.Context) {
	if grace.Err() != nil {
		grace = last
	}
	short, cancel := context.WithTimeout(grace, tallyLast)
	defer cancel()
	wait(short, ended(func() { d.stats.finish(short) }))
}

// awaitSettled lets the settler record what is left until grace ends, and for a
// moment longer.
func (d *Dispatcher) awaitSettled(grace context.Context, settled <-chan error, stop func()) error {
	select {
	case err := <-settled:
		return err
	case <-grace.Done():
	}
	select {
	case err := <-settled:
		return err
	case <-time.After(lastWords):
		stop()
	}
	select {
	case err := <-settled:
		return err // says how much is lost
	case <-time.After(lastWords):
		return ErrUnsettled
	}
}

// ended runs fn and returns a channel that is closed when it has returned.
func ended(fn func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	return done
}

// wait says whether done was closed before ctx ended.
func wait(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// releaseAll gives back every lease whose attempt did not take place, so that
// another dispatcher need not wait for its end.
func (d *Dispatcher) releaseAll(limit time.Duration) {
	d.mu.Lock()
	leases := d.giveBack
	d.giveBack = nil
	d.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := outbox.Release(ctx, d.db, leases, 0); err != nil {
		d.log.Warn("leases not given back, they end by themselves", slog.Int("leases", len(leases)), slog.Any("error", err))
		return
	}
	d.log.Info("leases given back", slog.Int("leases", len(leases)))
}
