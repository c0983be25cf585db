package organization_test

import (
	"bytes"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// publicURL has an address for a host, so that checking it asks no resolver.
const publicURL = "https://93.184.216.34/hook"

// fixture is the stores on a database of their own.
type fixture struct {
	db            *sqlx.DB
	organizations *organization.Store
	endpoints     *endpoint.Store
	hints         atomic.Int64 // calls of committed

	mu   sync.Mutex
	told []map[uuid.UUID]bool // the endpoints of each
}

func setUp(t *testing.T) *fixture { return setUpOn(t, pgtest.New(t)) }

func setUpOn(t *testing.T, db *sqlx.DB) *fixture {
	t.Helper()
	return setUpWith(t, db, webhook.Policy{})
}

func setUpWith(t *testing.T, db *sqlx.DB, policy webhook.Policy) *fixture {
	t.Helper()
	box, err := secret.NewBox([]secret.Key{{ID: "k1", Bytes: bytes.Repeat([]byte{1}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{db: db, endpoints: endpoint.NewStore(db, webhook.NewGuard(policy), box, nil)}
	f.organizations = organization.NewStore(db, f.endpoints, f.committed)
	return f
}

func (f *fixture) committed(endpoints []uuid.UUID) {
	told := map[uuid.UUID]bool{}
	for _, id := range endpoints {
		told[id] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hints.Add(1)
	f.told = append(f.told, told)
}

func (f *fixture) hinted() []map[uuid.UUID]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

func example() organization.New {
	return organization.New{Name: "Example Corporation", Domain: "example.com", PrimaryContactEmail: "admin@example.com"}
}

func onboarding(endpoints ...endpoint.New) organization.Onboarding {
	return organization.Onboarding{
		Organization: example(), AdminUser: organization.AdminUser{Email: "ada@example.com", FullName: "Ada Lovelace"}, Endpoints: endpoints,
	}
}

func hook(events ...string) endpoint.New {
	if events == nil {
		events = []string{"organization.created"}
	}
	return endpoint.New{URL: publicURL, Events: events, Name: "hook"}
}

func (f *fixture) create(t *testing.T, n organization.New) organization.Organization {
	t.Helper()
	o, err := f.organizations.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (f *fixture) register(t *testing.T, n endpoint.New) uuid.UUID {
	t.Helper()
	made, err := f.endpoints.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func (f *fixture) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	err := postgres.InTx(t.Context(), f.db, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := tx.ExecContext(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// books is how many rows the tables of a creation have.
type books struct{ Organizations, Users, Endpoints, Events, Deliveries, Queue int }

func (f *fixture) books(t *testing.T) (b books) {
	t.Helper()
	err := f.db.QueryRowxContext(t.Context(), `SELECT (SELECT count(*) FROM sonicus.organizations) AS organizations, (SELECT count(*) FROM sonicus.users) AS users,
		(SELECT count(*) FROM sonicus.endpoints) AS endpoints, (SELECT count(*) FROM sonicus.events) AS events,
		(SELECT count(*) FROM sonicus.deliveries) AS deliveries, (SELECT count(*) FROM sonicus.queue) AS queue`).StructScan(&b)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// receivers is which endpoints have a delivery of an organization's event.
func (f *fixture) receivers(t *testing.T, organization uuid.UUID) map[uuid.UUID]bool {
	t.Helper()
	var ids []uuid.UUID
	err := f.db.SelectContext(t.Context(), &ids, `SELECT d.endpoint_id FROM sonicus.deliveries d JOIN sonicus.events e ON e.id = d.event_id
		JOIN sonicus.queue q ON q.delivery_id = d.id WHERE e.organization_id = $1 AND d.status = 'pending'`, organization)
	if err != nil {
		t.Fatal(err)
	}
	set := map[uuid.UUID]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}

func (f *fixture) payload(t *testing.T, organization uuid.UUID) (id uuid.UUID, payload string) {
	t.Helper()
	err := f.db.QueryRowxContext(t.Context(), `SELECT id, payload::text FROM sonicus.events WHERE organization_id = $1`, organization).Scan(&id, &payload)
	if err != nil {
		t.Fatal(err)
	}
	return id, payload
}

// withOption is a connection URL with one more option.
func withOption(t *testing.T, database, name, value string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String()
}

func problemOf(t *testing.T, err error) problem.Error {
	t.Helper()
	p, ok := errors.AsType[*problem.Error](err)
	if !ok {
		t.Fatalf("got %v, want a problem", err)
	}
	return *p
}

func ptr[T any](v T) *T { return &v }
