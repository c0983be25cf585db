package organization_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/organization"
)

// trail is all that the audit trail tells, the newest first.
func (f *fixture) trail(t *testing.T) []access.Entry {
	t.Helper()
	all, err := access.NewTrail(f.db).List(t.Context(), access.Filter{}, 100, uuid.Nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func asBoss(ctx context.Context) context.Context {
	return access.WithActor(ctx, access.Actor{Principal: access.Principal{Name: "boss"}, RequestID: "a-request"})
}

func TestTrailTellsWhoMadeAnOrganization(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	made, err := f.organizations.Create(asBoss(t.Context()), example())
	if err != nil {
		t.Fatal(err)
	}
	trail := f.trail(t)
	if len(trail) != 1 {
		t.Fatalf("got %+v", trail)
	}
	got := trail[0]
	if got.Action != "organization.create" || got.Actor != "boss" || *got.RequestID != "a-request" || got.ObjectType != "organization" ||
		got.ObjectID != made.ID.String() || !got.At.Equal(made.CreatedAt) || string(got.Before) != "null" {
		t.Errorf("got %+v", got)
	}
	_, payload := f.payload(t, made.ID)
	var sent struct {
		Data struct{ Organization map[string]any }
	}
	if err := json.Unmarshal([]byte(payload), &sent); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent.Data.Organization, shown(t, got)); diff != "" {
		t.Error(diff)
	}
}

func TestTrailTellsOfAnOnboardingWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	signed := hook()
	signed.GenerateSecret, signed.URL = true, publicURL+"?token=hidden"
	made, err := f.organizations.Onboard(asBoss(t.Context()), onboarding(signed))
	if err != nil {
		t.Fatal(err)
	}
	trail := f.trail(t)
	slices.SortFunc(trail, func(a, b access.Entry) int { return strings.Compare(a.Action, b.Action) })
	if len(trail) != 2 || trail[0].Action != "endpoint.create" || trail[0].Actor != "boss" || trail[0].ObjectID != made.Endpoints[0].ID.String() ||
		trail[1].Action != "organization.onboard" || trail[1].Actor != "boss" || trail[1].ObjectID != made.Organization.ID.String() {
		t.Fatalf("got %+v", trail)
	}
	after := shown(t, trail[1])
	if diff := cmp.Diff([]any{made.Endpoints[0].ID.String()}, after["webhook_endpoints"]); diff != "" {
		t.Error(diff)
	}
	if after["organization"].(map[string]any)["domain"] != "example.com" || after["admin_user"].(map[string]any)["email"] != "ada@example.com" {
		t.Errorf("got %v", after)
	}
	if strings.Contains(string(trail[1].After), "hidden") {
		t.Error("the URL is there twice")
	}
	for _, entry := range trail {
		if strings.Contains(string(entry.After), string(made.Endpoints[0].SecretKey)) {
			t.Errorf("%s: the secret is in the trail", entry.Action)
		}
	}
}

func TestNoOrganizationWithoutItsAuditRow(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.register(t, hook())
	f.exec(t, `ALTER TABLE sonicus.audit_log ADD CONSTRAINT closed CHECK (false) NOT VALID`)
	if made, err := f.organizations.Create(t.Context(), example()); err == nil {
		t.Errorf("created %s", made.ID)
	}
	if diff := cmp.Diff(books{Endpoints: 1}, f.books(t)); diff != "" || f.hints.Load() != 0 {
		t.Errorf("%d hints; %s", f.hints.Load(), diff)
	}
}

func TestRefusedOrganizationsLeaveNoAuditRow(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.create(t, example())
	if _, err := f.organizations.Create(t.Context(), example()); problemOf(t, err).Code != "domain_taken" {
		t.Errorf("got %v", err)
	}
	if _, err := f.organizations.Create(t.Context(), organization.New{}); err == nil {
		t.Error("created")
	}
	if trail := f.trail(t); len(trail) != 1 {
		t.Errorf("got %+v", trail)
	}
}

func shown(t *testing.T, e access.Entry) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(e.After, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
