package organization

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// changing is a transaction that changes an organization or its users.
type changing struct {
	tx  *sqlx.Tx
	now time.Time    // the transaction's
	org Organization // as it was; nobody else can change it meanwhile, nor its users

	event uuid.UUID   // that was published; uuid.Nil: nothing has changed
	told  []uuid.UUID // the endpoints that it goes to
}

// change runs one write about an organization that exists; absent names what is not
// found when it does not, and action the write.
func change[T any](ctx context.Context, s *Store, organization uuid.UUID, absent, action string, do func(*changing) (T, error)) (T, error) {
	var c *changing
	made, err := inTx(ctx, s, func(tx *sqlx.Tx, now time.Time) (T, error) {
		c = &changing{tx: tx, now: now}
		if err := c.hold(ctx, organization, absent); err != nil {
			var none T
			return none, err
		}
		return do(c)
	})
	if errors.Is(err, postgres.ErrCommitUnknown) && (c.event == uuid.Nil || postgres.Appears(ctx, func(ctx context.Context) error { return outbox.Published(ctx, s.db, c.event) })) {
		err = nil
	}
	if err != nil {
		var none T
		return none, explain(action, "It is not known whether the change was made. Look at it before trying again.", err)
	}
	if len(c.told) > 0 {
		s.committed(c.told)
	}
	return made, nil
}

// hold locks the organization, also against the registration of endpoints for it.
func (c *changing) hold(ctx context.Context, id uuid.UUID, absent string) error {
	err := c.tx.GetContext(ctx, &c.org, `SELECT `+columns+` FROM sonicus.organizations WHERE id = $1 AND deleted_at IS NULL FOR UPDATE`, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return problem.NotFound(absent)
	}
	if err != nil {
		return fmt.Errorf("lock organization: %w", err)
	}
	c.org = c.org.inUTC()
	return nil
}

// expect refuses to change what is not as the caller saw it.
func expect(expected endpoint.Versions, version int64) error {
	if expected.Include(version) {
		return nil
	}
	return problem.PreconditionFailed("It has been changed since. Read it again, and send its ETag in If-Match.")
}

// after is the time of a change to what was last changed then. Who waited for others
// has an older transaction, but is not before them.
func (c *changing) after(last time.Time) time.Time {
	if next := last.Add(time.Microsecond); c.now.Before(next) {
		return next
	}
	return c.now
}

// publish makes the change that a statement is with, and tells the endpoints and the
// audit trail of it.
func (c *changing) publish(ctx context.Context, with outbox.Statement, ev event.Envelope, trail access.Change, args ...any) error {
	told, err := with.Publish(ctx, c.tx, ev, args...)
	if err != nil {
		return taken(err)
	}
	c.event, c.told = ev.ID, told
	return access.Record(ctx, c.tx, ev.Time, trail)
}

// taken explains that a value must be unique and is not.
func taken(err error) error {
	switch {
	case postgres.Violates(err, "organizations_domain_key"):
		return problem.Conflict("domain_taken", "domain", "An organization with this domain exists already.")
	case postgres.Violates(err, "users_email_key"):
		return problem.Conflict("email_taken", "email", "The organization has a user with this address already.")
	default:
		return err
	}
}
