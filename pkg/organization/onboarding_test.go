package organization_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/webhook"
)

func TestOnboardingEndpointsReceiveTheirOrganizationsEvent(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	global := f.register(t, hook())
	signed := hook("*")
	signed.GenerateSecret, signed.Name = true, "signed"
	first, err := f.organizations.Onboard(t.Context(), onboarding(hook(), signed))
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Endpoints) != 2 || first.Endpoints[1].Name != "signed" || first.Endpoints[1].SecretKey == "" || first.Endpoints[0].SecretKey != "" {
		t.Fatalf("got %+v", first.Endpoints)
	}
	for _, e := range first.Endpoints {
		if *e.OrganizationID != first.Organization.ID {
			t.Errorf("endpoint of %s", e.OrganizationID)
		}
	}
	next := onboarding(hook())
	next.Organization.Domain = "next.example" // the same admin may have several organizations
	second, err := f.organizations.Onboard(t.Context(), next)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		organization uuid.UUID
		want         map[uuid.UUID]bool
	}{
		{first.Organization.ID, map[uuid.UUID]bool{global: true, first.Endpoints[0].ID: true, first.Endpoints[1].ID: true}},
		{second.Organization.ID, map[uuid.UUID]bool{global: true, second.Endpoints[0].ID: true}},
	} {
		if diff := cmp.Diff(tt.want, f.receivers(t, tt.organization)); diff != "" {
			t.Error(diff)
		}
	}
	if f.hints.Load() != 2 {
		t.Errorf("%d hints", f.hints.Load())
	}
}

func TestOnboardingWritesTheAdminUser(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	done, err := f.organizations.Onboard(t.Context(), onboarding())
	if err != nil {
		t.Fatal(err)
	}
	var got organization.User
	err = f.db.QueryRowxContext(t.Context(), `SELECT id, organization_id, email, full_name, role, created_at, updated_at FROM sonicus.users`).
		Scan(&got.ID, &got.OrganizationID, &got.Email, &got.FullName, &got.Role, &got.CreatedAt, &got.UpdatedAt)
	if diff := cmp.Diff(done.AdminUser, got, cmp.Comparer(time.Time.Equal)); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if got.Role != "admin" || got.OrganizationID != done.Organization.ID || got.Email != "ada@example.com" {
		t.Errorf("got %+v", got)
	}
}

func TestOnboardingReportsEveryBadFieldOfAllParts(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	foreign, private := hook(), hook("nothing")
	foreign.OrganizationID, private.URL = ptr(uuid.Max), "https://127.0.0.1/"
	in := onboarding(hook(), foreign, private)
	in.Organization.Name, in.AdminUser = "", organization.AdminUser{Email: "ada"}
	_, err := f.organizations.Onboard(t.Context(), in)
	p := problemOf(t, err)
	var got []string
	for _, field := range p.Fields {
		got = append(got, field.Field+" "+field.Code)
	}
	want := []string{
		"name required", "admin_user.email invalid_email", "admin_user.full_name required", "webhook_endpoints[1].organization_id not_allowed",
		"webhook_endpoints[2].url blocked_address", "webhook_endpoints[2].events[0] unknown_event_type",
	}
	if diff := cmp.Diff(want, got); diff != "" || p.Kind != problem.KindInvalid {
		t.Errorf("%s: %s", p.Kind, diff)
	}
	if diff := cmp.Diff(books{}, f.books(t)); diff != "" {
		t.Error(diff)
	}
}

func TestOnboardingTakesTwentyEndpoints(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	many := make([]endpoint.New, 21)
	for i := range many {
		many[i] = hook()
	}
	_, err := f.organizations.Onboard(t.Context(), onboarding(many...))
	if p := problemOf(t, err); p.Code != "too_many" || p.Fields[0].Field != "webhook_endpoints" {
		t.Errorf("21: got %+v", p)
	}
	if _, err := f.organizations.Onboard(t.Context(), onboarding(many[:20]...)); err != nil {
		t.Errorf("20: %v", err)
	}
	if diff := cmp.Diff(books{Organizations: 1, Users: 1, Endpoints: 20, Events: 1, Deliveries: 20, Queue: 20}, f.books(t)); diff != "" {
		t.Error(diff)
	}
}

func TestOnboardingLooksNothingUpWhileAnyPartIsWrong(t *testing.T) {
	t.Parallel()
	named := hook()
	named.URL = "https://hooks.example.com/"
	for name, tt := range map[string]struct {
		change func(*organization.Onboarding)
		want   string
	}{
		"the organization":        {func(o *organization.Onboarding) { o.Organization.Domain = "" }, "domain"},
		"the admin":               {func(o *organization.Onboarding) { o.AdminUser.Email = "" }, "admin_user.email"},
		"another endpoint":        {func(o *organization.Onboarding) { o.Endpoints[1].Events = nil }, "webhook_endpoints[1].events"},
		"an endpoint's owner":     {func(o *organization.Onboarding) { o.Endpoints[1].OrganizationID = ptr(uuid.Max) }, "webhook_endpoints[1].organization_id"},
		"the number of receivers": {func(o *organization.Onboarding) { o.Endpoints = slices.Repeat(o.Endpoints, 11) }, "webhook_endpoints"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			f := setUpWith(t, nil, webhook.Policy{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				asked.Add(1)
				return nil, errors.New("no name server")
			}}})
			in := onboarding(named, named)
			tt.change(&in)
			_, err := f.organizations.Onboard(t.Context(), in)
			if p := problemOf(t, err); len(p.Fields) != 1 || p.Fields[0].Field != tt.want || asked.Load() != 0 {
				t.Errorf("%d look-ups, got %+v", asked.Load(), p)
			}
		})
	}
}

func TestOnboardingReportsEveryHostThatIsRefused(t *testing.T) {
	t.Parallel()
	f := setUpWith(t, nil, webhook.Policy{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	named := hook()
	named.URL = "https://localhost/" // judged by its address, which the hosts file holds
	_, err := f.organizations.Onboard(t.Context(), onboarding(named, hook(), named))
	p := problemOf(t, err)
	if len(p.Fields) != 2 || p.Fields[0].Field != "webhook_endpoints[0].url" || p.Fields[1].Field != "webhook_endpoints[2].url" || p.Fields[1].Code != "blocked_address" {
		t.Errorf("got %+v", p)
	}
}

func TestOnboardingThatEndsDuringTheLookUpMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	f := setUpWith(t, nil, webhook.Policy{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}})
	named := hook()
	named.URL = "https://hooks.example.com/"
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := f.organizations.Onboard(ctx, onboarding(hook(), named))
	if p := problemOf(t, err); p.Kind != problem.KindUnavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v", p)
	}
}
