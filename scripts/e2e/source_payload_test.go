package e2e_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/signature"
)

func everyRouteNotifies(t *testing.T, d *document) {
	for route, made := range d.organizations {
		if !slices.ContainsFunc(d.signed.got(), func(a arrival) bool { return decode(t, a.body).Data.Organization.ID == made["id"] }) {
			t.Errorf("%s: no webhook", route)
		}
	}
}

func signatureVerifies(t *testing.T, d *document) { d.arrived(t, d.signed).verify(t) }

func postedAsJSON(t *testing.T, d *document) {
	a := d.arrived(t, d.signed)
	if a.method != http.MethodPost || !json.Valid([]byte(a.body)) {
		t.Errorf("%s %s", a.method, a.body)
	}
}

// object is a JSON object with its keys in their order.
func object(t *testing.T, text string) (keys []string, values map[string]any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(string))
	}
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return keys, values
}

var microseconds = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)

func envelopeIsDocumented(t *testing.T, d *document) {
	keys, values := object(t, d.arrived(t, d.signed).body)
	if diff := cmp.Diff([]string{"event_type", "event_id", "timestamp", "data"}, keys); diff != "" {
		t.Error(diff)
	}
	id, _ := values["event_id"].(string)
	at, _ := values["timestamp"].(string)
	if values["event_type"] != "organization.created" || uuid.Validate(id) != nil || !microseconds.MatchString(at) {
		t.Errorf("got %v", values)
	}
}

// told is data.organization of the event of the plain route.
func (d *document) told(t *testing.T) (keys []string, values map[string]any) {
	t.Helper()
	var event struct {
		Data struct{ Organization json.RawMessage }
	}
	if err := json.Unmarshal([]byte(d.arrived(t, d.signed).body), &event); err != nil {
		t.Fatal(err)
	}
	return object(t, string(event.Data.Organization))
}

func organizationIsDocumented(t *testing.T, d *document) {
	keys, _ := d.told(t)
	want := []string{
		"id", "name", "display_name", "domain", "primary_contact_email", "subscription_tier", "subscription_status", "max_users", "industry", "company_size",
		"created_at", "trial_end_date",
	}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Error(diff)
	}
}

// carries: a field of the payload is that of the organization, as it was asked for.
func carries(field string) func(*testing.T, *document) {
	return func(t *testing.T, d *document) {
		_, told := d.told(t)
		made := d.organizations["/api/v1/organizations/"]
		value, there := told[field]
		if !there || value != made[field] {
			t.Errorf("told %v, made %v", value, made[field])
		}
		switch asked := newOrganization("x.example")[field]; {
		case field == "id":
			if uuid.Validate(value.(string)) != nil {
				t.Errorf("%v is no UUID", value)
			}
		case field == "created_at":
			if !microseconds.MatchString(value.(string)) {
				t.Errorf("%v has no microseconds", value)
			}
		case field == "max_users":
			if value != 250.0 {
				t.Errorf("%v is not what was asked for", value)
			}
		case field != "domain" && field != "primary_contact_email" && value != asked:
			t.Errorf("%v is not what was asked for, %v", value, asked)
		}
	}
}

func hasHeader(name, want string) func(*testing.T, *document) {
	return func(t *testing.T, d *document) {
		if got := d.arrived(t, d.signed).header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// headerRepeats: a header says what the body says.
func headerRepeats(name, field string) func(*testing.T, *document) {
	return func(t *testing.T, d *document) {
		a := d.arrived(t, d.signed)
		if _, values := object(t, a.body); a.header.Get(name) != values[field] {
			t.Errorf("%s: %q, the body has %v", name, a.header.Get(name), values[field])
		}
	}
}

func signedOnlyWithSecret(t *testing.T, d *document) {
	if got := d.arrived(t, d.signed).header.Get("X-Sonicus-Signature"); !regexp.MustCompile(`^sha256=[0-9a-f]{64}$`).MatchString(got) {
		t.Errorf("with a secret: %q", got)
	}
	if got := d.arrived(t, d.unsigned).header.Values("X-Sonicus-Signature"); len(got) > 0 {
		t.Errorf("without: %q", got)
	}
}

func forgeryIsFound(t *testing.T, d *document) {
	a := d.arrived(t, d.signed)
	v, err := signature.New(secretKey)
	if err != nil {
		t.Fatal(err)
	}
	forged := []byte(strings.Replace(a.body, "Example", "Evil", 1))
	if v.VerifySonicus(a.header, forged) == nil || v.VerifyStandard(a.header, forged) == nil {
		t.Error("a forged body verifies")
	}
}

func longURLIsKept(t *testing.T, d *document) {
	if url := d.row(t, `SELECT url FROM sonicus.webhook_endpoints WHERE id = $1`, d.signed.id)["url"]; url != d.asked["url"] || d.arrived(t, d.signed).target != strings.TrimPrefix(d.asked["url"].(string), d.signed.URL) {
		t.Errorf("stored %v, sent to %s", url, d.arrived(t, d.signed).target)
	}
}
