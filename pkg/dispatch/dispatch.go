// Package dispatch owns the timing: when to claim deliveries, how many to have in
// flight, whether to try again and when, and how to stop. The SQL is in outbox
// and the HTTP in webhook. First attempt and retry are one path:
//
//	claim ─► attempt ─► decide ─► settle
//
// Polling is the truth; hints only shorten the wait for the next poll.
package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// Settings are the operator's; none has a default here.
type Settings struct {
	Name         string        // of this process, in the log of attempts
	Concurrency  int           // deliveries claimed and not yet recorded: what a crash may repeat
	PerEndpoint  int           // requests in flight per endpoint
	PollInterval time.Duration // longest time between two looks at the queue
	Grace        time.Duration // how long a stop waits for attempts in flight
	Retry        Schedule
}

// A Dispatcher delivers what the outbox holds. Any number of them work on one
// database, without knowing of each other.
type Dispatcher struct {
	db       *postgres.DB
	sender   *webhook.Sender
	box      *secret.Box
	settings Settings
	log      *slog.Logger

	flights  *flights
	settler  *settler
	wake     chan struct{} // a look at the queue may be worth it
	attempts sync.WaitGroup

	mu       sync.Mutex
	giveBack []outbox.Claimed // leases whose attempt did not take place
}

// New makes a dispatcher. It does nothing before Run.
func New(db *postgres.DB, sender *webhook.Sender, box *secret.Box, settings Settings, log *slog.Logger) *Dispatcher {
	wake := make(chan struct{}, 1)
	slots := newFlights(settings.Concurrency, settings.PerEndpoint, wake)
	return &Dispatcher{
		db: db, sender: sender, box: box, settings: settings, log: log, wake: wake,
		flights: slots, settler: newSettler(db, settings.Name, log, slots),
	}
}

// Wake is where hints go; see [outbox.Listen].
func (d *Dispatcher) Wake() chan<- struct{} { return d.wake }

// ErrUnsettled: the process had to stop before it could record every result. The
// deliveries concerned are sent again when their leases end.
var ErrUnsettled = errors.New("stopped with results that are not recorded")

// ErrAborted: the process was told not to wait for attempts in flight.
var ErrAborted = errors.New("stopped at once")

// Run delivers until ctx ends, then drains: it claims no more, lets attempts in
// flight end within the grace period, records their results, gives back the
// leases of all others, and returns nil. When abort ends too, it waits for
// nothing: attempts are cut off, and their leases given back.
func (d *Dispatcher) Run(ctx, abort context.Context) error {
	sending, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	settled := make(chan error, 1)
	settling, stopSettling := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSettling()
	go func() { settled <- d.settler.run(settling) }()

	d.claimLoop(ctx, sending)

	d.log.Info("draining", slog.Int("in_flight", d.flights.count()))
	deadline := time.Now().Add(d.settings.Grace)
	aborted := d.awaitAttempts(abort, deadline)
	cutOff()
	d.attempts.Wait()
	d.settler.close()
	deadline = latest(deadline, time.Now().Add(time.Second)) // recording comes after the last attempt, however late that ended
	if aborted {
		deadline = time.Now().Add(time.Second)
	}
	time.AfterFunc(time.Until(deadline), stopSettling)
	err := <-settled
	d.releaseAll(deadline)
	d.sender.CloseIdle()
	if aborted {
		return errors.Join(ErrAborted, err)
	}
	return err
}

// awaitAttempts returns when nothing is in flight, the deadline has passed, or
// abort ends; it says whether it was the last.
func (d *Dispatcher) awaitAttempts(abort context.Context, deadline time.Time) (aborted bool) {
	idle := make(chan struct{})
	go func() {
		d.attempts.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-abort.Done():
		return true
	case <-time.After(time.Until(deadline)):
		d.log.Warn("grace period over, cutting off attempts", slog.Int("in_flight", d.flights.count()))
	}
	return false
}

// releaseAll gives back every lease whose attempt did not take place, so that
// another dispatcher need not wait for its end.
func (d *Dispatcher) releaseAll(deadline time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.giveBack) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), latest(deadline, time.Now().Add(time.Second)))
	defer cancel()
	if err := outbox.Release(ctx, d.db, d.giveBack, 0); err != nil {
		d.log.Warn("leases not given back, they end by themselves", slog.Int("leases", len(d.giveBack)), slog.Any("error", err))
		return
	}
	d.log.Info("leases given back", slog.Int("leases", len(d.giveBack)))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
