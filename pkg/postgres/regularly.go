package postgres

import (
	"context"
	"log/slog"
	"time"
)

// Regularly does something every so often until ctx ends, and after retry when it has
// failed: a database that is away ends no chore. do returns how much there was to do,
// which is logged under the chore's name.
func Regularly(ctx context.Context, log *slog.Logger, chore string, every, retry time.Duration, do func(context.Context) (int, error)) {
	for {
		wait := every
		n, err := do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.ErrorContext(ctx, "chore failed, trying again", slog.String("chore", chore), slog.Any("error", err))
			wait = retry
		case n > 0:
			log.InfoContext(ctx, "chore done", slog.String("chore", chore), slog.Int("number", n))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
