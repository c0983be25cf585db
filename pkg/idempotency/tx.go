package idempotency

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// maxWait is how long a request waits for another one with its key to end, in this
// process and then in others. Who waits for others holds a connection.
const maxWait = time.Second

// InTx is [postgres.InTx] for work that a request may ask for again: when ctx comes
// from [Store.With] it is done once, and what fn returns is kept as the answer. It
// returns what fn has made, with an error too, so that after
// postgres.ErrCommitUnknown it can be looked for.
//
// With a key there are more errors: [*Replayed] with the first answer; problems of
// the kinds Conflict (in_progress, while the same request is being worked on) and
// Invalid (idempotency_key_reused); and, instead of postgres.ErrCommitUnknown,
// Unavailable (commit_unknown), when the key cannot be found for five seconds
// afterwards: with it the request may be sent again.
func InTx[T any](ctx context.Context, db *sqlx.DB, fn func(tx *sqlx.Tx, now time.Time) (T, error)) (T, error) {
	var made T
	work := func(tx *sqlx.Tx, now time.Time) (err error) {
		made, err = fn(tx, now)
		return err
	}
	a, keyed := ctx.Value(attemptKey{}).(*attempt)
	if !keyed {
		err := postgres.InTx(ctx, db, work)
		return made, err
	}
	err := a.inTx(ctx, db, work, func() any { return made })
	return made, err
}

func (a *attempt) inTx(ctx context.Context, db *sqlx.DB, work func(*sqlx.Tx, time.Time) error, made func() any) error {
	var id uuid.UUID
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, now time.Time) error {
		id = postgres.NewID(now)
		if err := a.claim(ctx, tx, id, now); err != nil {
			return err
		}
		if err := work(tx, now); err != nil {
			return err
		}
		return a.keep(ctx, tx, id, made())
	})
	if errors.Is(err, postgres.ErrCommitUnknown) {
		return a.outcome(ctx, id, err)
	}
	return err
}

// claim writes the key's row; maxWait is for this statement alone. While another
// transaction has written it and not ended yet, Postgres waits. (WHERE, because the
// limit must be set before the row is written.)
const claim = `
INSERT INTO sonicus.idempotency_keys (caller, key, id, created_at)
SELECT $1, $2, $3, $4 WHERE set_config('lock_timeout', $5, true) IS NOT NULL
ON CONFLICT DO NOTHING
RETURNING set_config('lock_timeout', NULL, true)`

func (a *attempt) claim(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, now time.Time) error {
	var before string
	err := tx.QueryRowxContext(ctx, claim, a.Caller, a.Key, id, now, strconv.FormatInt(maxWait.Milliseconds(), 10)).Scan(&before)
	switch {
	case postgres.LockTimeout(err):
		return inProgress(err)
	case errors.Is(err, postgres.ErrNotFound):
		return a.replay(ctx, tx)
	case err != nil:
		return fmt.Errorf("claim idempotency key: %w", err)
	}
	return nil
}

// replay is for a key that has its row already.
func (a *attempt) replay(ctx context.Context, from sqlx.QueryerContext) error {
	found, err := read(ctx, from, a.Request)
	if errors.Is(err, postgres.ErrNotFound) { // it was forgotten just now
		return inProgress(err)
	}
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	first, err := a.open(a.Request, found)
	if err != nil {
		return err
	}
	return &Replayed{*first}
}

// outcome looks for the key after a commit whose outcome is unknown. Found with this
// attempt's id, it has happened; with another id, another attempt was first.
func (a *attempt) outcome(ctx context.Context, id uuid.UUID, unknown error) error {
	var found row
	appeared := postgres.Appears(ctx, func(ctx context.Context) (err error) {
		found, err = read(ctx, a.db, a.Request)
		return err
	})
	switch {
	case !appeared:
		// The cause is only told: those who see it in the chain would look once more.
		return problem.Unavailable("commit_unknown",
			"It is not known whether this was done. Send the same request with the same Idempotency-Key again: it is done once at most.",
			errors.New(unknown.Error()))
	case found.ID == id:
		return nil
	}
	first, err := a.open(a.Request, found)
	if err != nil {
		return err
	}
	return &Replayed{*first}
}

func inProgress(err error) error {
	p := problem.Conflict("in_progress", "", "A request with this Idempotency-Key is being worked on. Send it again shortly.")
	p.RetryAfter, p.Err = time.Second, err
	return p
}
