package endpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// Versions are those of which something must have one for a change to be made;
// nil: whichever it has.
type Versions []int64

// Include says whether a version is expected.
func (v Versions) Include(version int64) bool { return v == nil || slices.Contains(v, version) }

// change is what one write does to the row of an endpoint; now is the transaction's
// time, before the endpoint as it was, which nobody else can change meanwhile.
type change func(tx *sqlx.Tx, now time.Time, before Endpoint) error

// write makes a change in a transaction of its own, together with its row in the
// audit trail, and returns the endpoint as it is then. A change that leaves the row
// alone is not recorded. Problems: NotFound, also for an endpoint that is deleted;
// PreconditionFailed for a version that is not among expected; Unavailable as for
// [Store.Create]; and those of apply.
func (s *Store) write(ctx context.Context, id uuid.UUID, action string, expected Versions, apply change) (Endpoint, error) {
	return written(ctx, s, id, action, expected, apply, func(after Endpoint) Endpoint { return after })
}

// written is [Store.write] with a result of its own, made of the endpoint as it is then.
func written[T any](ctx context.Context, s *Store, id uuid.UUID, action string, expected Versions, apply change, result func(Endpoint) T) (T, error) {
	var after Endpoint
	made, err := idempotency.InTx(ctx, s.db, func(tx *sqlx.Tx, now time.Time) (_ T, err error) {
		after, err = applied(ctx, tx, now, id, action, expected, apply)
		return result(after), err
	})
	if errors.Is(err, postgres.ErrCommitUnknown) && s.appears(ctx, id, after.Version) {
		err = nil
	}
	if err != nil {
		var none T
		return none, explain(action+" endpoint", "It is not known whether the endpoint was changed. Look at it before trying again.", err)
	}
	s.committed([]uuid.UUID{id})
	return made, nil
}

func applied(ctx context.Context, tx *sqlx.Tx, now time.Time, id uuid.UUID, action string, expected Versions, apply change) (Endpoint, error) {
	before, err := hold(ctx, tx, id)
	if err != nil {
		return Endpoint{}, err
	}
	if !expected.Include(before.Version) {
		return Endpoint{}, problem.PreconditionFailed("The endpoint has been changed since. Read it again, and send its ETag in If-Match.")
	}
	if err := apply(tx, now, before); err != nil {
		return Endpoint{}, err
	}
	var r row
	if err := tx.GetContext(ctx, &r, selection+` WHERE e.id = $1`, id); err != nil {
		return Endpoint{}, fmt.Errorf("read: %w", err)
	}
	after, err := r.endpoint()
	if err != nil || after.Version == before.Version {
		return after, err
	}
	return after, record(ctx, tx, now, action, before, after, r.DeletedAt != nil)
}

// hold locks an endpoint against all other changes: its lane first and then its
// row, as those do who settle, so that nobody can deadlock.
func hold(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (Endpoint, error) {
	if err := outbox.HoldLane(ctx, tx, id); err != nil {
		return Endpoint{}, err
	}
	var r row
	err := tx.GetContext(ctx, &r, selection+` WHERE e.id = $1 AND e.deleted_at IS NULL FOR NO KEY UPDATE OF e`, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return Endpoint{}, problem.NotFound("endpoint")
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("lock: %w", err)
	}
	return r.endpoint()
}

// record writes what became of an endpoint into the audit trail.
func record(ctx context.Context, tx *sqlx.Tx, now time.Time, action string, before, after Endpoint, gone bool) error {
	c := access.Change{Action: "endpoint." + action, ObjectType: "endpoint", ObjectID: before.ID, Before: before.kept()}
	if !gone {
		c.After = after.kept()
	}
	return access.Record(ctx, tx, now, c)
}

// kept is an endpoint as the audit trail keeps it, for good: its URL is without the
// query, which may hold a token of the receiver.
func (e Endpoint) kept() Endpoint {
	e.URL = webhook.WithoutQuery(e.URL)
	return e
}

// appears looks, after a commit whose outcome is unknown, whether the version that
// it would have made is there.
func (s *Store) appears(ctx context.Context, id uuid.UUID, version int64) bool {
	return postgres.Appears(ctx, func(ctx context.Context) error {
		var found int64
		return s.db.GetContext(ctx, &found, `SELECT 1 FROM sonicus.endpoints e WHERE e.id = $1 AND e.xmin::text::bigint = $2`, id, version)
	})
}
