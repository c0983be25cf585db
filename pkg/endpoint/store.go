package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// Names of the columns that hold envelopes; part of what each is sealed to.
const (
	columnSecret   = "secret"
	columnPrevious = "previous_secret"
)

// Store keeps the endpoints.
type Store struct {
	db        *sqlx.DB
	guard     *webhook.Guard
	box       *secret.Box
	committed func(endpoints []uuid.UUID)
}

// NewStore makes a store that checks URLs with guard and seals secrets with box.
// committed is called after every change of an endpoint, to wake the dispatchers; it
// must return at once and may be nil.
func NewStore(db *sqlx.DB, guard *webhook.Guard, box *secret.Box, committed func(endpoints []uuid.UUID)) *Store {
	if committed == nil {
		committed = func([]uuid.UUID) {}
	}
	return &Store{db: db, guard: guard, box: box, committed: committed}
}

// Create registers an endpoint. [Store.Put] is for one with a UID. Problems: Invalid for bad fields, among them an
// organization that does not exist; Unavailable while the database is away, with
// the code commit_unknown when it cannot be told whether the endpoint exists, and
// when ctx ends while the URL's host is looked up.
func (s *Store) Create(ctx context.Context, n New) (Created, error) {
	checked, err := s.Check(ctx, n, "")
	if err != nil {
		return Created{}, err
	}
	return s.register(ctx, checked)
}

// register writes what has been checked.
func (s *Store) register(ctx context.Context, checked Checked) (Created, error) {
	made, err := idempotency.InTx(ctx, s.db, func(tx *sqlx.Tx, now time.Time) (Created, error) {
		return s.Insert(ctx, tx, now, checked)
	})
	if errors.Is(err, postgres.ErrCommitUnknown) && s.appears(ctx, made.ID, made.Version) {
		err = nil
	}
	if err != nil {
		return Created{}, explain("create endpoint",
			"It is not known whether the endpoint was created. Look for it in the list of endpoints before trying again.", err)
	}
	return made, nil
}

const insert = `
INSERT INTO sonicus.endpoints (id, uid, url, name, description, organization_id, events, timeout_seconds, max_retries, retry_schedule,
                               rate_limit, max_concurrency, ordering, breaker_failures, breaker_max_open_seconds, metadata, headers, header_names,
                               secret, secret_last4, filter, filter_clauses, filter_paths, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23::text[]::jsonpath[], $24, $24)
RETURNING xmin::text::bigint, metadata, filter`

// Insert writes a checked endpoint, and its row in the audit trail, in the caller's
// transaction; now is that transaction's time. An organization that does not exist is a problem of kind
// Invalid, a UID that another endpoint has one of kind Conflict (uid_taken), and so are too many endpoints
// (endpoint_limit); after them the transaction can only be rolled back.
func (s *Store) Insert(ctx context.Context, tx *sqlx.Tx, now time.Time, c Checked) (Created, error) {
	if err := checkRoom(ctx, tx, c.OrganizationID); err != nil {
		return Created{}, err
	}
	made := c.created(postgres.NewID(now), now)
	events, err := json.Marshal(c.events)
	if err != nil {
		return Created{}, fmt.Errorf("encode events: %w", err)
	}
	sealed, err := s.seal(made.ID, columnSecret, c.SecretKey)
	if err != nil {
		return Created{}, err
	}
	headers, names, err := s.sealHeaders(made.ID, c.headers)
	if err != nil {
		return Created{}, err
	}
	if err := holdOrganization(ctx, tx, c.OrganizationID); err != nil {
		return Created{}, err
	}
	filter := compile(c.filter)
	var metadata postgres.JSON
	err = tx.QueryRowxContext(ctx, insert, made.ID, c.uid, c.url, c.name, c.description, c.OrganizationID, postgres.JSON(events),
		c.timeout, c.retries, pq.Array(c.schedule), c.rate, c.concurrency, c.ordering, c.breakerFailures, c.breakerMaxOpen, postgres.JSON(c.metadata), headers, names,
		sealed, made.SecretLast4, filter.document, filter.clauses, filter.paths, now).Scan(&made.Version, &metadata, &filter.document)
	if postgres.Violates(err, "endpoints_uid_idx") {
		return Created{}, problem.Conflict(codeTaken, c.path+"uid", "Another endpoint has this uid.")
	}
	if err != nil {
		return Created{}, fmt.Errorf("insert endpoint: %w", err)
	}
	made.Metadata, made.Filter = compact(json.RawMessage(metadata)), shownFilter(filter.document)
	err = access.Record(ctx, tx, now, access.Change{Action: "endpoint.create", ObjectType: "endpoint", ObjectID: made.ID, After: made.kept()})
	return made, err
}

// holdOrganization keeps the organization that an endpoint is limited to from being
// deleted until the endpoint is there. The foreign key alone does not look at that.
func holdOrganization(ctx context.Context, tx *sqlx.Tx, id *uuid.UUID) error {
	if id == nil {
		return nil
	}
	var held bool
	err := tx.GetContext(ctx, &held, `SELECT true FROM sonicus.organizations o WHERE o.id = $1 AND o.deleted_at IS NULL FOR KEY SHARE`, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return problem.Invalid(wrong("organization_id", "unknown_organization",
			"name an organization that exists, or leave it out for events of all organizations")...)
	}
	if err != nil {
		return fmt.Errorf("hold organization: %w", err)
	}
	return nil
}

func (c Checked) created(id uuid.UUID, now time.Time) Created {
	made := Created{Endpoint: Endpoint{
		ID: id, UID: c.uid, URL: c.url, Events: c.events, IsActive: true, OrganizationID: c.OrganizationID,
		TimeoutSeconds: c.timeout, MaxRetries: c.retries, RetrySchedule: c.schedule, Name: c.name, Description: c.description,
		RateLimit: c.rate, MaxConcurrency: c.concurrency, Ordering: c.ordering,
		BreakerFailures: c.breakerFailures, BreakerMaxOpenSeconds: c.breakerMaxOpen, Metadata: c.metadata, Filter: c.filter, Headers: mask(slices.Collect(maps.Keys(c.headers))),
		CreatedAt: now, UpdatedAt: now, BreakerState: "closed",
	}}
	if c.SecretKey != "" {
		last4 := secret.Last4(string(c.SecretKey))
		made.SecretSet, made.SecretLast4 = true, &last4
	}
	if c.generated {
		made.SecretKey = c.SecretKey
	}
	return made
}

// seal returns the envelope of a secret for a column of an endpoint, nil for none.
func (s *Store) seal(id uuid.UUID, column string, v secret.Value) (*string, error) {
	if v == "" {
		return nil, nil
	}
	sealed, err := s.box.Seal([]byte(v), secret.AAD(id, column))
	if err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	return &sealed, nil
}

// Get returns one endpoint; one that does not exist or is deleted is a problem
// of kind NotFound.
func (s *Store) Get(ctx context.Context, id uuid.UUID) (Endpoint, error) {
	var r row
	err := s.db.GetContext(ctx, &r, selection+` WHERE e.id = $1 AND e.deleted_at IS NULL`, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return Endpoint{}, problem.NotFound("endpoint")
	}
	if err != nil {
		return Endpoint{}, explain("get endpoint", "", err)
	}
	return r.endpoint()
}

// explain turns the state of the database into a problem that callers may see; doubt
// is for a commit whose outcome is unknown.
func explain(what, doubt string, err error) error {
	return fmt.Errorf("%s: %w", what, postgres.Explain(err, doubt))
}
