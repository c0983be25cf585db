package endpoint_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// publicURL has an address for a host, so that checking it asks no resolver.
const publicURL = "https://93.184.216.34/hook"

func newBox(t *testing.T, id string, fill byte) *secret.Box {
	t.Helper()
	box, err := secret.NewBox([]secret.Key{{ID: id, Bytes: bytes.Repeat([]byte{fill}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// newStore works without a database as long as only Check is called.
func newStore(t *testing.T, db *sqlx.DB) *endpoint.Store {
	t.Helper()
	return endpoint.NewStore(db, webhook.NewGuard(webhook.Policy{}), newBox(t, "k1", 1), nil)
}

// newStoreWith looks names up with r; only Check may be called.
func newStoreWith(t *testing.T, r *net.Resolver) *endpoint.Store {
	t.Helper()
	return endpoint.NewStore(nil, webhook.NewGuard(webhook.Policy{Resolver: r}), newBox(t, "k1", 1), nil)
}

func valid() endpoint.New {
	return endpoint.New{URL: publicURL, Events: []string{"organization.created"}, Name: "Primary CRM Integration"}
}

func create(t *testing.T, s *endpoint.Store, n endpoint.New) endpoint.Created {
	t.Helper()
	made, err := s.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// insertOrganization stands in for the owner of that table.
func insertOrganization(t *testing.T, db *sqlx.DB) uuid.UUID {
	t.Helper()
	var id uuid.UUID
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
		id = postgres.NewID(now)
		_, err := tx.ExecContext(t.Context(), `INSERT INTO sonicus.organizations (id, name, display_name, domain, primary_contact_email, subscription_tier,
			subscription_status, max_users, created_at, updated_at) VALUES ($1, 'x', 'x', $2, 'x', 'x', 'x', 1, now(), now())`, id, id.String())
		return err
	})
	return id
}

func inTx(t *testing.T, db *sqlx.DB, fn func(*sqlx.Tx, time.Time) error) {
	t.Helper()
	if err := postgres.InTx(t.Context(), db, fn); err != nil {
		t.Fatal(err)
	}
}

// exec changes what no use case changes yet, and tells when nothing matched.
func exec(t *testing.T, db *sqlx.DB, query string, args ...any) {
	t.Helper()
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
		res, err := tx.ExecContext(t.Context(), query, args...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.New("no row changed: " + query)
		}
		return nil
	})
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

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
