package dispatch

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// breath is the wait of a busy dispatcher whose slots are nearly all taken,
// unless a wake-up ends it: some slots may be held by receivers that hang.
const breath = 10 * time.Millisecond

// claimTimeout bounds a claim, which takes milliseconds.
const claimTimeout = 10 * time.Second

// troublePause is the longest pause between two tries while claiming fails.
const troublePause = 5 * time.Second

// claimLoop waits, claims, starts attempts, and asks how long to wait, until ctx
// ends. Attempts run under sending.
func (d *Dispatcher) claimLoop(ctx, sending context.Context) {
	cursor, failures := uuid.Nil, 0
	for ctx.Err() == nil {
		claimed, full, next, err := d.claim(ctx, cursor)
		if err != nil {
			failures++
			d.logTrouble(ctx, err, failures)
			pause(ctx, nil, troubleWait(failures, d.settings.PollInterval))
			continue
		}
		if failures > 0 {
			d.log.Info("claiming again", slog.Int("failed_claims", failures))
			failures = 0
		}
		d.start(ctx, sending, claimed)
		pause(ctx, d.wake, d.nextLook(full, cursor != uuid.Nil && next == uuid.Nil))
		cursor = next
	}
}

// claim takes what there is room for. full says that there may be more: either
// the room was used up, or there was none.
func (d *Dispatcher) claim(ctx context.Context, cursor uuid.UUID) (claimed []outbox.Claimed, full bool, next uuid.UUID, err error) {
	room := d.flights.room()
	if room.Total == 0 || d.settler.behind() {
		return nil, true, cursor, nil
	}
	// A stop must not cut a claim in two: the leases would be nobody's until they end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimTimeout)
	defer cancel()
	claimed, next, err = outbox.Claim(ctx, d.db, room, cursor)
	return claimed, len(claimed) == room.Total, next, err
}

// nextLook says how long to wait after a claim. wrapped: the round ended at the
// last endpoint and those before its start have not had their turn.
func (d *Dispatcher) nextLook(full, wrapped bool) time.Duration {
	switch {
	case d.settler.behind():
		return d.settings.PollInterval
	case full && !d.flights.roomForBatch():
		return min(breath, d.settings.PollInterval)
	case full, wrapped:
		return 0
	default:
		return d.settings.PollInterval
	}
}

// start begins the attempts, or none of them once ctx has ended.
func (d *Dispatcher) start(ctx, sending context.Context, claimed []outbox.Claimed) {
	for _, c := range claimed {
		if ctx.Err() != nil {
			d.giveUpLease(c)
			continue
		}
		d.flights.begin(c)
		d.attempts.Go(func() {
			d.attempt(sending, c)
		})
	}
}

// giveUpLease remembers a lease for [Dispatcher.releaseAll].
func (d *Dispatcher) giveUpLease(c outbox.Claimed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.giveBack = append(d.giveBack, c)
}

// logTrouble says once that claiming fails, and again every minute or so.
func (d *Dispatcher) logTrouble(ctx context.Context, err error, failures int) {
	if ctx.Err() == nil && (failures == 1 || failures%15 == 0) {
		d.log.Error("cannot claim deliveries, trying again", slog.Any("error", err), slog.Int("failed_claims", failures))
	}
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
