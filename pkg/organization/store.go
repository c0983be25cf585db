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
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// Store keeps the organizations and their users.
type Store struct {
	db        *sqlx.DB
	endpoints *endpoint.Store
	committed func(endpoints []uuid.UUID)
}

// NewStore makes a store. committed is called after every commit that wrote
// deliveries, with the endpoints that they go to, to wake the dispatchers; it must
// return at once and may be nil.
func NewStore(db *sqlx.DB, endpoints *endpoint.Store, committed func(endpoints []uuid.UUID)) *Store {
	if committed == nil {
		committed = func([]uuid.UUID) {}
	}
	return &Store{db: db, endpoints: endpoints, committed: committed}
}

// Create writes an organization together with its organization.created event and
// the deliveries of that, and an entry in the audit trail. Problems: Invalid names every bad field; Conflict
// (domain_taken); Unavailable while the database is away, with the code
// commit_unknown when it cannot be told whether the organization exists.
func (s *Store) Create(ctx context.Context, n New) (Organization, error) {
	o, found := n.check()
	if len(found) > 0 {
		return Organization{}, problem.Invalid(found...)
	}
	return write(ctx, s, &o, func(tx *sqlx.Tx, now time.Time) (Organization, []uuid.UUID, error) {
		ev, err := o.created(now, nil)
		if err != nil {
			return o, nil, err
		}
		told, err := creating.Publish(ctx, tx, ev, o.values()...)
		if err != nil {
			return o, nil, err
		}
		return o, told, access.Record(ctx, tx, now, o.change("organization.create", nil, o.payload()))
	})
}

// write runs one creation: it sets the id and the times of o and lets all write
// it, what belongs to it, and its event; all returns what was made, and the endpoints
// that have deliveries then.
func write[T any](ctx context.Context, s *Store, o *Organization, all func(*sqlx.Tx, time.Time) (T, []uuid.UUID, error)) (T, error) {
	var told []uuid.UUID
	made, err := inTx(ctx, s, func(tx *sqlx.Tx, now time.Time) (made T, err error) {
		o.ID, o.CreatedAt, o.UpdatedAt = postgres.NewID(now), now, now
		made, told, err = all(tx, now)
		return made, taken(err)
	})
	if errors.Is(err, postgres.ErrCommitUnknown) && postgres.Appears(ctx, func(ctx context.Context) error { _, err := s.Get(ctx, o.ID); return err }) {
		err = nil
	}
	if err != nil {
		var none T
		return none, explain("create organization",
			"It is not known whether the organization was created. Look for its domain in the list of organizations before trying again.", err)
	}
	if len(told) > 0 {
		s.committed(told)
	}
	return made, nil
}

// inTx runs a write, and runs it again when the day had no partition yet.
func inTx[T any](ctx context.Context, s *Store, fn func(*sqlx.Tx, time.Time) (T, error)) (T, error) {
	made, err := idempotency.InTx(ctx, s.db, fn)
	if !postgres.MissingPartition(err) {
		return made, err
	}
	if _, err := outbox.EnsurePartitions(ctx, s.db); err != nil {
		return made, err
	}
	return idempotency.InTx(ctx, s.db, fn)
}

// insertOrganization takes what values returns.
const insertOrganization = `
INSERT INTO sonicus.organizations (id, name, display_name, domain, primary_contact_email, subscription_tier, subscription_status,
                                   max_users, industry, company_size, trial_end_date, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`

// creating writes an organization and publishes its event in one statement.
var creating = outbox.With(insertOrganization)

func (o Organization) values() []any {
	return []any{
		o.ID, o.Name, o.DisplayName, o.Domain, o.PrimaryContactEmail, o.SubscriptionTier, o.SubscriptionStatus,
		o.MaxUsers, o.Industry, o.CompanySize, o.TrialEndDate, o.CreatedAt, o.UpdatedAt,
	}
}

// created is the event that tells of o; admin is nil unless it came by onboarding.
func (o Organization) created(now time.Time, admin *event.User) (event.Envelope, error) {
	return event.NewOrganizationCreated(postgres.NewID(now), now, o.payload(), admin)
}

// change is what the audit trail tells of an organization.
func (o Organization) change(action string, before, after any) access.Change {
	return access.Change{Action: action, ObjectType: "organization", ObjectID: o.ID, Before: before, After: after}
}

// explain turns the state of the database into a problem that callers may see; doubt
// is for a commit whose outcome is unknown.
func explain(what, doubt string, err error) error {
	return fmt.Errorf("%s: %w", what, postgres.Explain(err, doubt))
}
