package event_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
)

var (
	eventID = uuid.MustParse("550e8400-e29b-41d4-a716-446655440000")
	orgID   = uuid.MustParse("123e4567-e89b-12d3-a456-426614174000")
	at      = time.Date(2025, 8, 7, 18, 20, 52, 123456789, time.FixedZone("CEST", 7200))
)

func documented() event.Organization {
	industry, size := "Technology", "50-100"
	return event.Organization{
		ID: orgID, Name: "Example Corporation", DisplayName: "Example Corporation Inc.", Domain: "example.com",
		PrimaryContactEmail: "admin@example.com", SubscriptionTier: "premium", SubscriptionStatus: "active", MaxUsers: 250,
		Industry: &industry, CompanySize: &size, CreatedAt: event.Timestamp(at),
	}
}

func TestPayloadIsTheDocumentedOne(t *testing.T) {
	t.Parallel()
	const organization = `{"id":"123e4567-e89b-12d3-a456-426614174000","name":"Example Corporation","display_name":"Example Corporation Inc.",` +
		`"domain":"example.com","primary_contact_email":"admin@example.com","subscription_tier":"premium","subscription_status":"active",` +
		`"max_users":250,"industry":"Technology","company_size":"50-100","created_at":"2025-08-07T16:20:52.123456Z","trial_end_date":null}`
	const head = `{"event_type":"organization.created","event_id":"550e8400-e29b-41d4-a716-446655440000","timestamp":"2025-08-07T16:20:52.123456Z","data":{"organization":`

	for name, c := range map[string]struct {
		admin *event.User
		want  string
	}{
		"created":   {nil, head + organization + `}}`},
		"onboarded": {&event.User{ID: orgID, Email: "ada@example.com", FullName: "Ada"}, head + organization + `,"admin_user":{"id":"123e4567-e89b-12d3-a456-426614174000","email":"ada@example.com","full_name":"Ada"}}}`},
	} {
		ev, err := event.NewOrganizationCreated(eventID, at, documented(), c.admin)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, string(ev.Payload)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if ev.ID != eventID || *ev.OrganizationID != orgID || ev.Type != event.OrganizationCreated || !ev.Time.Equal(at) {
			t.Errorf("%s: envelope %+v", name, ev)
		}
	}
}

func TestPayloadOfADisabledEndpoint(t *testing.T) {
	t.Parallel()
	const head = `{"event_type":"webhook.endpoint.disabled","event_id":"550e8400-e29b-41d4-a716-446655440000","timestamp":"2025-08-07T16:20:52.123456Z",` +
		`"data":{"endpoint":{"id":"019890a1-1d2b-7c55-9a3e-5d7f2b9c1e04","name":"R&D","url":"https://example.com/hook",`
	since := event.Timestamp(at.Add(-time.Hour))
	hook := event.DisabledEndpoint{
		Endpoint:       event.Endpoint{ID: uuid.MustParse("019890a1-1d2b-7c55-9a3e-5d7f2b9c1e04"), Name: "R&D", URL: "https://example.com/hook?token=secret"},
		DisabledReason: event.DisabledGone, DisabledAt: event.Timestamp(at),
	}
	owned := hook
	owned.OrganizationID, owned.DisabledReason, owned.FailingSince = &orgID, event.DisabledFailing, &since
	for name, c := range map[string]struct {
		endpoint event.DisabledEndpoint
		want     string
	}{
		"global, gone":   {hook, head + `"organization_id":null,"disabled_reason":"gone","disabled_at":"2025-08-07T16:20:52.123456Z","failing_since":null}}}`},
		"owned, failing": {owned, head + `"organization_id":"123e4567-e89b-12d3-a456-426614174000","disabled_reason":"failing","disabled_at":"2025-08-07T16:20:52.123456Z","failing_since":"2025-08-07T15:20:52.123456Z"}}}`},
	} {
		ev, err := event.NewEndpointDisabled(eventID, at, c.endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, string(ev.Payload)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := cmp.Diff(c.endpoint.OrganizationID, ev.OrganizationID); d != "" || ev.ID != eventID || ev.Type != event.EndpointDisabled || !ev.Time.Equal(at) {
			t.Errorf("%s: envelope %+v", name, ev)
		}
	}
}

func TestOperationalEventsGoOnlyWhereTheyAreNamed(t *testing.T) {
	t.Parallel()
	for eventType, want := range map[string][]string{
		"organization.created":      {"organization.created", "organization.*", "*"},
		"webhook.endpoint.disabled": {"webhook.endpoint.disabled", "webhook.*"},
	} {
		if d := cmp.Diff(want, event.Patterns(eventType)); d != "" {
			t.Errorf("%s: %s", eventType, d)
		}
	}
}

func TestPayloadKeepsTextAsItWasGiven(t *testing.T) {
	t.Parallel()
	org := documented()
	org.Name = `R&D <Größe> "株式会社" 🎺`
	ev, err := event.NewOrganizationCreated(eventID, at, org, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"name":"R&D <Größe> \"株式会社\" 🎺"`; !strings.Contains(string(ev.Payload), want) {
		t.Errorf("%s not in %s", want, ev.Payload)
	}
}

func TestPayloadHasALargestSize(t *testing.T) {
	t.Parallel()
	org := documented()
	org.Name = strings.Repeat("x", event.MaxPayload)
	if _, err := event.NewOrganizationCreated(eventID, at, org, nil); !errors.Is(err, event.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestTimestampAlwaysHasSixDecimals(t *testing.T) {
	t.Parallel()
	if got := event.Timestamp(time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)).String(); got != "2025-01-02T03:04:05.000000Z" {
		t.Error(got)
	}
}

func TestPatternsThatEndpointsMayUse(t *testing.T) {
	t.Parallel()
	for pattern, known := range map[string]bool{
		"organization.created": true, "organization.*": true, "*": true, "webhook.endpoint.disabled": true, "webhook.*": true,
		"organization": false, "organization.": false, "organization.deleted-typo": false, "*.created": false, "organization.created.*": false,
		"": false, "ORGANIZATION.CREATED": false, "organization.create*": false, "group.*": false,
		"webhook": false, "webhook.endpoint": false, "webhook.endpoint.*": false, "webhook.endpoint.enabled": false,
	} {
		if event.Known(pattern) != known {
			t.Errorf("%q: known should be %t", pattern, known)
		}
	}
}
