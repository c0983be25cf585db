package endpoint_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/signature"
)

func TestCreatedEndpointReadsBackAsItWasAnswered(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store, organization := newStore(t, db), insertOrganization(t, db)
	full := endpoint.New{
		URL: publicURL, Events: []string{"organization.*", "organization.created"}, Name: "R&D <b>", Description: "Sends \"organization\" data\\",
		OrganizationID: &organization, SecretKey: ptr(secret.Value(strings.Repeat("s", 28) + "LAST")), TimeoutSeconds: ptr(30), MaxRetries: ptr(0),
		RateLimit: ptr(100), MaxConcurrency: ptr(8), Ordering: ptr("organization"), BreakerFailures: ptr(0), BreakerMaxOpenSeconds: ptr(60),
		Metadata: json.RawMessage(`{"team": "crm", "<tags>": [1, 2.50, null]}`), Headers: endpoint.Headers{"X-Tenant": ptr(secret.Value("acme")), "X-None": nil},
	}
	least := create(t, store, valid())
	most := create(t, store, full)
	want := endpoint.Endpoint{
		ID: most.ID, Version: most.Version, URL: publicURL, Events: full.Events, IsActive: true, OrganizationID: &organization, TimeoutSeconds: 30, MaxRetries: 0, Name: full.Name,
		Description: full.Description, SecretSet: true, SecretLast4: ptr("LAST"), CreatedAt: most.CreatedAt, UpdatedAt: most.CreatedAt, BreakerState: "closed",
		RateLimit: ptr(100), MaxConcurrency: ptr(8), Ordering: "organization", BreakerFailures: ptr(0), BreakerMaxOpenSeconds: ptr(60),
		Metadata: json.RawMessage(`{"team":"crm","<tags>":[1,2.50,null]}`), Headers: map[string]string{"X-Tenant": "********"},
	}
	if diff := cmp.Diff(want, most.Endpoint); diff != "" {
		t.Errorf("answered: %s", diff)
	}
	if least.TimeoutSeconds != 10 || least.MaxRetries != 9 || least.SecretSet || least.OrganizationID != nil || least.SecretKey != "" || most.SecretKey != "" ||
		least.RateLimit != nil || least.MaxConcurrency != nil || least.Ordering != "none" || least.BreakerFailures != nil || least.BreakerMaxOpenSeconds != nil {
		t.Errorf("defaults: %+v", least)
	}
	for _, made := range []endpoint.Created{least, most} {
		got, err := store.Get(t.Context(), made.ID)
		if diff := cmp.Diff(made.Endpoint, got); diff != "" || err != nil {
			t.Errorf("read back: %v %s", err, diff)
		}
	}
}

func TestListPagesFromTheNewest(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	if none, err := store.List(t.Context(), endpoint.Filter{}, 10, uuid.Nil); err != nil || len(none) != 0 {
		t.Errorf("empty: %v, %v", none, err)
	}
	made := map[uuid.UUID]bool{}
	for range 5 {
		made[create(t, store, valid()).ID] = true
	}
	before, pages := uuid.Nil, 0
	for {
		page, err := store.List(t.Context(), endpoint.Filter{}, 2, before)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		pages++
		for _, e := range page {
			if !made[e.ID] || (before != uuid.Nil && e.ID.String() >= before.String()) {
				t.Errorf("%s is unknown, repeated or out of order", e.ID)
			}
			delete(made, e.ID)
			before = e.ID
		}
	}
	if pages != 3 || len(made) != 0 {
		t.Errorf("%d pages, %d not listed", pages, len(made))
	}
}

func TestDeletedEndpointsAreNotShown(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	made := create(t, store, valid())
	exec(t, db, `UPDATE sonicus.endpoints SET deleted_at = now() WHERE id = $1`, made.ID)
	for _, id := range []uuid.UUID{made.ID, uuid.Max} {
		_, err := store.Get(t.Context(), id)
		if p := problemOf(t, err); p.Kind != problem.KindNotFound {
			t.Errorf("got %v", err)
		}
	}
	if all, err := store.List(t.Context(), endpoint.Filter{}, 10, uuid.Nil); err != nil || len(all) != 0 {
		t.Errorf("listed: %v, %v", all, err)
	}
}

func TestRefusesUnknownOrganization(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	n := valid()
	n.OrganizationID = ptr(uuid.Max)
	_, err := newStore(t, db).Create(t.Context(), n)
	p := problemOf(t, err)
	if p.Kind != problem.KindInvalid || p.Code != "unknown_organization" || p.Fields[0].Field != "organization_id" {
		t.Errorf("got %+v", p)
	}
}

func TestSecretsAreNeverStoredInPlaintext(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	given := valid()
	given.SecretKey = ptr(secret.Value("marker-0123456789-0123456789-0123456789"))
	generated := valid()
	generated.GenerateSecret = true
	create(t, store, given)
	made := create(t, store, generated)
	if signature.CheckSecret(string(made.SecretKey)) != nil || !strings.HasPrefix(string(made.SecretKey), "whsec_") {
		t.Fatal("no usable secret was generated")
	}
	decoded, err := signature.DecodeSecret(string(made.SecretKey))
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	if err := db.SelectContext(t.Context(), &rows, `SELECT e::text FROM sonicus.endpoints e UNION ALL SELECT v::text FROM sonicus.webhook_endpoints v`); err != nil || len(rows) != 4 {
		t.Fatal(len(rows), err)
	}
	for _, plain := range []string{string(*given.SecretKey), string(made.SecretKey), strings.TrimPrefix(string(made.SecretKey), "whsec_"), string(decoded)} {
		for _, form := range []string{plain, base64.StdEncoding.EncodeToString([]byte(plain)), base64.RawURLEncoding.EncodeToString([]byte(plain)), hex.EncodeToString([]byte(plain))} {
			for _, row := range rows {
				if strings.Contains(row, form) {
					t.Error("a row holds a secret")
				}
			}
		}
	}
	if text := strings.Join(rows, "\n"); strings.Count(text, "v1.k1.") != 2 || strings.Count(text, "********6789") != 1 {
		t.Error("the envelopes or the masked secrets are not where they should be")
	}
}

func TestUnavailableDatabaseIsSaidSo(t *testing.T) {
	t.Parallel()
	db, err := postgres.Connect(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable", postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store := newStore(t, db)
	_, create := store.Create(t.Context(), valid())
	_, get := store.Get(t.Context(), uuid.Max)
	_, list := store.List(t.Context(), endpoint.Filter{}, 1, uuid.Nil)
	for _, err := range []error{create, get, list} {
		if p := problemOf(t, err); p.Kind != problem.KindUnavailable || p.Code != "unavailable" || p.RetryAfter <= 0 {
			t.Errorf("got %+v", p)
		}
	}
}

func TestInsertBelongsToTheCallersTransaction(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	checked, err := store.Check(t.Context(), valid(), "")
	if err != nil {
		t.Fatal(err)
	}
	changedMyMind := errors.New("changed my mind")
	err = postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, now time.Time) error {
		made, err := store.Insert(context.WithoutCancel(t.Context()), tx, now, checked)
		if err != nil || made.CreatedAt != now {
			t.Errorf("insert: %v, created at %s and not %s", err, made.CreatedAt, now)
		}
		return changedMyMind
	})
	if !errors.Is(err, changedMyMind) {
		t.Fatal(err)
	}
	if all, err := store.List(t.Context(), endpoint.Filter{}, 10, uuid.Nil); err != nil || len(all) != 0 {
		t.Errorf("an endpoint outlived its transaction: %v, %v", all, err)
	}
}
