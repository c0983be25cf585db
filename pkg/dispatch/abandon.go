package dispatch

import (
	"context"
	"log/slog"
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// abandonLoop ends what is queued for endpoints that were deleted, until ctx ends:
// at the start and then every few seconds, as sweeps go. It is apart from those, so
// that a large backlog holds nothing up.
func (d *Dispatcher) abandonLoop(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		lanes, err := d.deserted(ctx)
		looked := time.Since(began)
		for _, lane := range lanes {
			if err == nil {
				err = d.abandon(ctx, lane)
			}
		}
		if err != nil && ctx.Err() == nil {
			d.log.Warn("deliveries of deleted endpoints not ended, trying again", slog.Any("error", err))
		}
		pause(ctx, nil, max(min(sweepEvery, d.settings.PollInterval*5), min(sweepShare*looked, sweepLatest)))
	}
}

func (d *Dispatcher) deserted(ctx context.Context) ([]outbox.Lane, error) {
	short, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	return outbox.Deserted(short, d.db)
}

// abandon ends what a lane holds, one short transaction after another.
func (d *Dispatcher) abandon(ctx context.Context, lane outbox.Lane) error {
	total := 0
	defer func() {
		if total > 0 {
			d.log.Info("endpoint deleted, deliveries ended", slog.String("endpoint_id", lane.EndpointID.String()), slog.Int("deliveries", total))
		}
	}()
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, sweepTimeout)
		n, err := outbox.Abandon(short, d.db, lane)
		cancel()
		if n == 0 {
			return err
		}
		total += n
	}
	return ctx.Err()
}
