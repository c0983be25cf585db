package httpapi

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)

var organizationKeys = []string{
	"id", "name", "display_name", "domain", "primary_contact_email", "subscription_tier", "subscription_status", "max_users",
	"industry", "company_size", "created_at", "trial_end_date", "updated_at",
}

func fullOrganization(domain string) string {
	return `{"name":"Example Corporation","display_name":"Example Corporation Inc.","domain":"` + domain + `",
		"primary_contact_email":"admin@example.com","subscription_tier":"premium","subscription_status":"active","max_users":250,
		"industry":"Research & <Development>","company_size":"50-100","trial_end_date":"2026-01-02T03:04:05.5+01:00"}`
}

func TestOrganizationIsCreatedOnBothFormsOfBothPaths(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for i, path := range []string{"/api/v1/organizations", "/api/v1/organizations/", "/api/v1/super-admin/organizations", "/api/v1/super-admin/organizations/"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			domain := fmt.Sprintf("form%d.example.com", i)
			got := a.post(t, path, fullOrganization(domain))
			made := got.json(t, 201)
			if diff := cmp.Diff(organizationKeys, keysOf(t, got.body)); diff != "" {
				t.Error(diff)
			}
			created, ok := made["created_at"].(string)
			if !ok || !timestamp.MatchString(created) {
				t.Errorf("created_at is %v", made["created_at"])
			}
			want := map[string]any{
				"id": made["id"], "name": "Example Corporation", "display_name": "Example Corporation Inc.", "domain": domain,
				"primary_contact_email": "admin@example.com", "subscription_tier": "premium", "subscription_status": "active",
				"max_users": 250.0, "industry": "Research & <Development>", "company_size": "50-100",
				"created_at": created, "updated_at": created, "trial_end_date": "2026-01-02T02:04:05.500000Z",
			}
			if diff := cmp.Diff(want, made); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(got.body, "Research & <Development>") {
				t.Errorf("escaped for HTML: %s", got.body)
			}
			a.sameAtLocation(t, got)
		})
	}
}

// sameAtLocation checks that what was created is found where the answer says.
func (a *api) sameAtLocation(t *testing.T, created answer) {
	t.Helper()
	location := created.header.Get("Location")
	if want := organizationsPath + "/"; !strings.HasPrefix(location, want) {
		t.Fatalf("Location %q", location)
	}
	if found := a.get(t, location); found.status != 200 || found.body != created.body {
		t.Errorf("GET %s: %d %s", location, found.status, found.body)
	}
}

func TestOnboardingAnswersWithAllThatItMade(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for i, path := range []string{"/api/v1/organization-crud/organizations", "/api/v1/organization-crud/organizations/"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			body := strings.TrimSuffix(fullOrganization(fmt.Sprintf("onboarding%d.example.com", i)), "}") + `,
				"admin_user":{"email":"ada@example.com","full_name":"Ada L."},
				"webhook_endpoints":[{"url":"` + hook + `","events":["organization.created"],"name":"CRM","generate_secret":true},
				                     {"url":"` + hook + `","events":["*"],"name":"Billing","organization_id":null}]}`
			got := a.post(t, path, body)
			made := got.json(t, 201)
			if diff := cmp.Diff([]string{"organization", "admin_user", "webhook_endpoints"}, keysOf(t, got.body)); diff != "" {
				t.Error(diff)
			}
			org, user, hooks := made["organization"].(map[string]any), made["admin_user"].(map[string]any), made["webhook_endpoints"].([]any)
			if user["email"] != "ada@example.com" || user["full_name"] != "Ada L." || user["organization_id"] != org["id"] || user["role"] != "admin" {
				t.Errorf("admin_user %v", user)
			}
			if len(hooks) != 2 {
				t.Fatalf("webhook_endpoints %v", hooks)
			}
			crm, billing := hooks[0].(map[string]any), hooks[1].(map[string]any)
			if secret, _ := crm["secret_key"].(string); !strings.HasPrefix(secret, "whsec_") || crm["organization_id"] != org["id"] {
				t.Errorf("first endpoint %v", crm)
			}
			if _, shown := billing["secret_key"]; shown || billing["secret_set"] != false || billing["name"] != "Billing" {
				t.Errorf("second endpoint %v", billing)
			}
			if location := got.header.Get("Location"); location != organizationsPath+"/"+org["id"].(string) {
				t.Errorf("Location %q", location)
			}
			found := a.get(t, got.header.Get("Location")).json(t, 200)
			if diff := cmp.Diff(org, found); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOnboardingWithoutEndpointsAnswersAnEmptyList(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	got := a.post(t, "/api/v1/organization-crud/organizations", `{"name":"A","domain":"a.example.com","primary_contact_email":"a@example.com","admin_user":{"email":"b@example.com","full_name":"B"}}`)
	if made := got.json(t, 201); fmt.Sprint(made["webhook_endpoints"]) != "[]" {
		t.Errorf("got %s", got.body)
	}
}

func TestEndpointIsRegisteredAsDocumented(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	got := a.post(t, endpointsPath, `{"url":"`+hook+`","events":["organization.created"],"name":"CRM Integration",
		"description":"Sends organization data to CRM","organization_id":null,"secret_key":"optional-secret-for-signatures","timeout_seconds":10,"max_retries":3}`)
	made := got.json(t, 201)
	if diff := cmp.Diff([]string{"id", "url", "message"}, keysOf(t, got.body)[:3]); diff != "" {
		t.Error(diff)
	}
	id, _ := made["id"].(string)
	if _, err := uuid.Parse(id); err != nil || made["url"] != hook || made["message"] != "Webhook endpoint created successfully" {
		t.Errorf("got %s", got.body)
	}
	if _, shown := made["secret_key"]; shown {
		t.Error("a secret that the caller gave is repeated")
	}
	if location := got.header.Get("Location"); location != endpointsPath+"/"+id {
		t.Errorf("Location %q", location)
	}
	found := a.get(t, got.header.Get("Location")).json(t, 200)
	want := map[string]any{
		"id": id, "url": hook, "name": "CRM Integration", "description": "Sends organization data to CRM", "events": []any{"organization.created"},
		"uid": nil, "retry_schedule": nil,
		"is_active": true, "organization_id": nil, "timeout_seconds": 10.0, "max_retries": 3.0, "secret_set": true, "secret_last4": "ures", "previous_secret_expires_at": nil,
		"rate_limit": nil, "max_concurrency": nil, "ordering": "none", "metadata": map[string]any{}, "headers": map[string]any{}, "filter": nil, "breaker_failures": nil, "breaker_max_open_seconds": nil,
		"created_at": found["created_at"], "updated_at": found["created_at"], "last_success_at": nil, "last_failure_at": nil,
		"disabled_reason": nil, "disabled_at": nil, "paused_at": nil, "breaker_state": "closed", "breaker_until": nil, "failing_since": nil,
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	if at, _ := found["created_at"].(string); !timestamp.MatchString(at) {
		t.Errorf("created_at is %v", found["created_at"])
	}
	list := a.get(t, endpointsPath).json(t, 200)
	if diff := cmp.Diff(map[string]any{"data": []any{want}, "next_cursor": nil, "has_more": false}, list); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointsSettingsAndStateAreShown(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const settings = `"rate_limit":50,"max_concurrency":4,"ordering":"organization","breaker_failures":0,"breaker_max_open_seconds":600,"events":["webhook.*","webhook.endpoint.disabled"]`
	own := a.post(t, "/api/v1/organization-crud/organizations", `{"name":"A","domain":"a.example.com","primary_contact_email":"a@example.com",
		"admin_user":{"email":"b@example.com","full_name":"B"},"webhook_endpoints":[{"url":"`+hook+`","name":"own",`+settings+`}]}`).json(t, 201)
	made := a.post(t, endpointsPath, `{"url":"`+hook+`","name":"CRM",`+settings+`}`).json(t, 201)
	want := map[string]any{
		"rate_limit": 50.0, "max_concurrency": 4.0, "ordering": "organization", "breaker_failures": 0.0, "breaker_max_open_seconds": 600.0,
		"breaker_state": "closed", "breaker_until": nil, "failing_since": nil, "last_success_at": nil, "last_failure_at": nil,
	}
	check := func(what string, got map[string]any) {
		t.Helper()
		shown := map[string]any{}
		for key := range want {
			shown[key] = got[key]
		}
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	check("registered", made)
	check("onboarded", own["webhook_endpoints"].([]any)[0].(map[string]any))
	id := made["id"].(string)
	check("read back", a.get(t, endpointsPath+"/"+id).json(t, 200))
	a.change(t, `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = '2026-01-02T03:04:05.5Z', failing_since = '2026-01-01T03:04:05Z',
		last_success_at = '2026-01-01T02:04:05Z', last_failure_at = '2026-01-02T02:04:05.123456Z'`)
	want["breaker_state"], want["breaker_until"], want["failing_since"] = "open", "2026-01-02T03:04:05.500000Z", "2026-01-01T03:04:05.000000Z"
	want["last_success_at"], want["last_failure_at"] = "2026-01-01T02:04:05.000000Z", "2026-01-02T02:04:05.123456Z"
	check("in trouble", a.get(t, endpointsPath+"/"+id).json(t, 200))
	list := a.get(t, endpointsPath).json(t, 200)["data"].([]any)
	if len(list) != 2 {
		t.Fatalf("%d listed", len(list))
	}
	for _, e := range list {
		check("listed", e.(map[string]any))
	}
	for _, field := range []string{"breaker_state", "breaker_until", "failing_since", "last_success_at", "last_failure_at"} {
		a.post(t, endpointsPath, `{"url":"`+hook+`","name":"CRM","events":["*"],"`+field+`":null}`).problem(t, 422, "unknown_field")
	}
}

func TestOrganizationsAreListedOnBothFormsOfThePath(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.post(t, organizationsPath, fullOrganization("a.example.com")).json(t, 201)
	a.post(t, organizationsPath, fullOrganization("b.example.com")).json(t, 201)
	for _, query := range []string{"", "?limit=1"} {
		bare, slash := a.get(t, organizationsPath+query), a.get(t, organizationsPath+"/"+query)
		if bare.status != 200 || slash.status != 200 || bare.body != slash.body {
			t.Errorf("%d %s\n%d %s", bare.status, bare.body, slash.status, slash.body)
		}
	}
}

func TestGeneratedSecretIsShownOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	got := a.post(t, endpointsPath, `{"url":"`+hook+`","events":["*"],"name":"CRM","generate_secret":true}`)
	secret, _ := got.json(t, 201)["secret_key"].(string)
	if !strings.HasPrefix(secret, "whsec_") || len(secret) < 40 {
		t.Fatalf("got %s", got.body)
	}
	for _, path := range []string{got.header.Get("Location"), endpointsPath} {
		found := a.get(t, path)
		if strings.Contains(found.body, secret) || strings.Contains(found.body, "secret_key") || !strings.Contains(found.body, `"secret_last4":"`+secret[len(secret)-4:]+`"`) {
			t.Errorf("%s: %s", path, found.body)
		}
	}
}

func TestTakenDomainIsAConflict(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.post(t, organizationsPath, fullOrganization("taken.example.com")).json(t, 201)
	for _, path := range []string{organizationsPath + "/", "/api/v1/super-admin/organizations/"} {
		got := a.post(t, path, fullOrganization("TAKEN.example.com"))
		if d := got.problem(t, 409, "domain_taken"); d.fieldNames() != "domain" || got.header.Get("Location") != "" {
			t.Errorf("got %v %s", got.header, got.body)
		}
	}
}
