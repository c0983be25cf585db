package dispatch

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

const (
	// claimTimeout bounds a claim, which takes milliseconds.
	claimTimeout = 10 * time.Second
	// troublePause is the longest pause between two tries while claiming fails.
	troublePause = 5 * time.Second
	// arrivalsOverlap is how far two looks at what is new overlap, for what was
	// committed late.
	arrivalsOverlap = 2 * time.Second
	// arrivalsMost is the longest time looked back over; a sweep finds the rest.
	arrivalsMost = time.Minute
	// sweepEvery is how long what no hint and no look at arrivals can find waits at
	// the longest: leases that ended, and what other dispatchers have put off.
	sweepEvery = 5 * time.Second
	// sweepShare bounds the time spent on sweeps, which a long transaction in the
	// database can make slow: they pause for so many times their own duration.
	sweepShare = 20
	// sweepLatest bounds that pause: a sweep that hung tells nothing of the next.
	sweepLatest = 30 * time.Second
	// sweepTimeout bounds one.
	sweepTimeout = 15 * time.Second
)

// claimLoop looks where work is, claims, and starts attempts, until ctx ends.
// Attempts run under sending.
func (d *Dispatcher) claimLoop(ctx, sending context.Context) {
	var looked time.Time
	failures := 0
	for ctx.Err() == nil {
		now := time.Now()
		again, err := d.step(ctx, sending, now, &looked)
		if err != nil {
			failures = d.trouble(ctx, err, failures)
			continue
		}
		if failures > 0 {
			d.log.Info("claiming again", slog.Int("failed_claims", failures))
			failures = 0
		}
		pause(ctx, d.wake, until(now, again, looked.Add(d.settings.PollInterval)))
	}
}

// step looks, claims once, and says when the next step is due; zero: at the next
// poll, unless a wake-up comes.
func (d *Dispatcher) step(ctx, sending context.Context, now time.Time, looked *time.Time) (again time.Time, err error) {
	if err := d.look(ctx, now, looked); err != nil || d.settler.behind() {
		return time.Time{}, err
	}
	asks, again := d.lanes.asks(now)
	if len(asks) == 0 {
		return again, nil
	}
	return now, d.claim(ctx, sending, asks)
}

// until is how long to wait: to the earlier of two times, of which a zero one
// does not count.
func until(now, again, poll time.Time) time.Duration {
	if !again.IsZero() && again.Before(poll) {
		return max(again.Sub(now), 0)
	}
	return max(poll.Sub(now), 0)
}

// look finds new work once per poll interval. Everything that is put off, or is
// left over by others, is the sweep's to find.
func (d *Dispatcher) look(ctx context.Context, now time.Time, looked *time.Time) error {
	since := now.Sub(*looked)
	if since < d.settings.PollInterval && !d.unknown.Swap(false) {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	work, err := outbox.Arrivals(short, d.db, min(since+arrivalsOverlap, arrivalsMost))
	if err != nil {
		return err
	}
	*looked = now
	d.lanes.found(now, work)
	return nil
}

// sweepLoop finds what everything else has missed, at the start and then every
// few seconds, until ctx ends.
func (d *Dispatcher) sweepLoop(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		short, cancel := context.WithTimeout(ctx, sweepTimeout)
		work, err := outbox.Sweep(short, d.db, sweepEvery)
		cancel()
		if err == nil {
			d.lanes.found(began, work)
		} else if ctx.Err() == nil {
			d.log.Warn("sweep failed, trying again", slog.Any("error", err))
		}
		pause(ctx, nil, max(min(sweepEvery, d.settings.PollInterval*5), min(sweepShare*time.Since(began), sweepLatest)))
	}
}

// Heard takes in a hint: these lanes have something due; nil: some may have.
func (d *Dispatcher) Heard(hinted []outbox.Lane) {
	if hinted == nil {
		d.unknown.Store(true)
		poke(d.wake)
		return
	}
	now := time.Now()
	for _, lane := range hinted {
		d.lanes.note(lane, time.Time{}, now)
	}
}

// claim asks the lanes and starts the attempts of what they give.
func (d *Dispatcher) claim(ctx, sending context.Context, asks []outbox.Ask) error {
	began := time.Now()
	// A stop must not cut a claim in two: the leases would be nobody's until they end.
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimTimeout)
	defer cancel()
	claimed, visits, err := outbox.Claim(short, d.db, asks)
	if err != nil {
		d.lanes.failed(began, asks)
		return err
	}
	d.lanes.answered(began, asks, visits)
	d.log.LogAttrs(ctx, slog.LevelDebug, "claimed", slog.Int("lanes", len(asks)), slog.Int("deliveries", len(claimed)))
	if err := d.endpoints.refresh(short, claimed); err != nil {
		for _, c := range claimed {
			d.lanes.note(c.Lane, c.DueAt, began)
			d.giveUpLease(c)
		}
		d.releaseAll(claimTimeout)
		return err
	}
	for _, c := range claimed {
		d.start(ctx, sending, c)
	}
	return nil
}

// start begins an attempt, unless ctx has ended or the receiver has enough for now.
func (d *Dispatcher) start(ctx, sending context.Context, c outbox.Claimed) {
	if ctx.Err() != nil {
		d.giveUpLease(c)
		return
	}
	if d.lanes.arrived(c) {
		d.send(sending, c)
	}
}

// send makes requests to one receiver, one after another, for as long as some
// wait and have room.
func (d *Dispatcher) send(ctx context.Context, c outbox.Claimed) {
	d.attempts.Go(func() {
		for more := true; more; {
			id := c.EndpointID
			took, made, success := d.attempt(ctx, c)
			if !made {
				d.slotsFree(ctx, 1)
			}
			var widened bool
			c, more, widened = d.lanes.landed(time.Now(), id, took, made, success)
			if widened {
				if extra, ok := d.lanes.next(id); ok {
					d.send(ctx, extra)
				}
			}
		}
	})
}

// slotsFree gives back the slots of deliveries that are recorded, or postponed, and
// begins what waited for one.
func (d *Dispatcher) slotsFree(ctx context.Context, n int) {
	for _, c := range d.lanes.end(n) {
		d.send(ctx, c)
	}
}

// giveUpLease remembers a lease for [Dispatcher.releaseAll].
func (d *Dispatcher) giveUpLease(c outbox.Claimed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.giveBack = append(d.giveBack, c)
}

// withdraw takes back what was claimed for an endpoint whose breaker has opened;
// staleLoop gives the leases back.
func (d *Dispatcher) withdraw(id uuid.UUID) {
	for _, c := range d.lanes.withdraw(time.Now(), id) {
		d.giveUpLease(c)
	}
}

// staleLoop returns what waits for receivers that have become slow, until ctx ends.
func (d *Dispatcher) staleLoop(ctx context.Context) {
	for ctx.Err() == nil {
		for _, c := range d.lanes.stale(time.Now(), staleAfter) {
			d.giveUpLease(c)
		}
		d.releaseAll(claimTimeout)
		pause(ctx, nil, staleAfter)
	}
}

// trouble says once that the database does not answer, and again every minute or
// so, and waits for longer and longer.
func (d *Dispatcher) trouble(ctx context.Context, err error, failures int) int {
	failures++
	if ctx.Err() == nil && (failures == 1 || failures%15 == 0) {
		d.log.Error("cannot claim deliveries, trying again", slog.Any("error", err), slog.Int("failed_claims", failures))
	}
	pause(ctx, nil, troubleWait(failures, d.settings.PollInterval))
	return failures
}

// troubleWait doubles from a tenth of the poll interval, with jitter, so that
// dispatchers do not come back all at once.
func troubleWait(failures int, poll time.Duration) time.Duration {
	wait := min(poll/10<<min(failures, 10), troublePause)
	return wait/2 + rand.N(wait/2+1) //nolint:gosec // jitter, not a secret
}

// pause waits for d, a wake-up, or the end of ctx.
func pause(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	if d == 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}
