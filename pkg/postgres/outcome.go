package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/sonicus/webhooks/pkg/problem"
)

const (
	patience  = 5 * time.Second        // how long the outcome of a silent commit is looked for
	lookEvery = 100 * time.Millisecond // how often
	lookFor   = time.Second            // how long one look may take
)

// Appears tries, after [ErrCommitUnknown], to read what was to be committed: look
// returns nil when it is there. It keeps looking for up to five seconds, because
// the server may be restarting, or still be busy with that very commit.
func Appears(ctx context.Context, look func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for {
		short, done := context.WithTimeout(ctx, lookFor)
		err := look(short)
		done()
		if err == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(lookEvery):
		}
	}
}

// Explain turns errors that tell of the database's state into problems that a
// caller may see: commit_unknown with the sentence doubt, which says how to find
// out, and unavailable. Any other error is returned as it is.
func Explain(err error, doubt string) error {
	switch _, known := errors.AsType[*problem.Error](err); {
	case known:
		return err
	case errors.Is(err, ErrCommitUnknown):
		return problem.Unavailable("commit_unknown", doubt, err)
	case Unavailable(err):
		return problem.Unavailable("unavailable", "The database does not answer. Nothing was changed; try again shortly.", err)
	default:
		return err
	}
}
