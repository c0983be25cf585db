package httpapi

import (
	"strings"
	"testing"

	"github.com/google/uuid"
)

const trial = `{"filter":{"data.organization.domain":{"prefix":"acme"},"or":[{"event_type":"organization.created"}]},`

func TestFilterIsTriedOnAPayloadOrAnEvent(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for domain, want := range map[string]string{
		"acme.example":  `{"matches":true,"clause":null}`,
		"other.example": `{"matches":false,"clause":"filter.data.organization.domain"}`,
	} {
		a.post(t, organizationsPath, `{"name":"A","domain":"`+domain+`","primary_contact_email":"a@`+domain+`"}`).json(t, 201)
		var event string
		if err := a.db.GetContext(t.Context(), &event, `SELECT id FROM sonicus.events ORDER BY id DESC LIMIT 1`); err != nil {
			t.Fatal(err)
		}
		for _, on := range []string{
			`"event_id":"` + event + `"}`,
			`"payload":{"event_type":"organization.created","data":{"organization":{"domain":"` + domain + `"}}}}`,
		} {
			if got := a.post(t, filterTestPath, trial+on); got.status != 200 || strings.TrimSpace(got.body) != want {
				t.Errorf("%s: %d %s, want %s", on, got.status, got.body, want)
			}
		}
	}
}

func TestTrialOfAFilterRefusesWhatItCannotTry(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for body, code := range map[string]string{
		`{"payload":{}}`: "required",
		trial + `"payload":{},"event_id":"` + uuid.NewString() + `"}`:           "exclusive",
		trial + `"event_id":null}`:                                              "exclusive",
		trial + `"event_id":"` + uuid.NewString() + `"}`:                        "unknown_event",
		trial + `"payload":{"x":"` + strings.Repeat("x", 256<<10) + `"}}`:       "too_large",
		`{"payload":{},"filter":{"data.x":"` + strings.Repeat("x", 201) + `"}}`: "too_long",
		`{"payload":{},"filter":{"or":[{"data.x":"\u0000"}]}}`:                  "control_character",
		`{"payload":{},"filter":{"data.x":1e999}}`:                              "out_of_range",
		`{"payload":{},"filter":{"data.x":1,"data.x":2}}`:                       "duplicate_key",
	} {
		a.post(t, filterTestPath, body).problem(t, 422, code)
	}
	a.post(t, endpointsPath, `{"url":"`+hook+`","events":["*"],"name":"A","filter":{"or":[{"data.x":1},{"x":1}]}}`).problem(t, 422, "invalid_path")
	a.post(t, endpointsPath, `{"url":"`+hook+`","events":["*"],"name":"A","filter":{"data.x":{"in":["`+strings.Repeat("x", 16<<10)+`"]}}}`).problem(t, 422, "too_large")
}

func TestFilterOfAnEndpointHoldsBackEvents(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, _ := a.register(t, `,"filter":{"data.organization.subscription_tier":{"in":["premium","enterprise"]}}`)
	publish := func(domain, tier string) (deliveries int) {
		a.post(t, organizationsPath, `{"name":"A","domain":"`+domain+`","primary_contact_email":"a@b.example","subscription_tier":"`+tier+`"}`).json(t, 201)
		if err := a.db.GetContext(t.Context(), &deliveries, `SELECT count(*) FROM sonicus.deliveries`); err != nil {
			t.Fatal(err)
		}
		return deliveries
	}
	if n := publish("a.example", "starter"); n != 0 {
		t.Errorf("%d deliveries of what the filter holds back", n)
	}
	if n := publish("b.example", "premium"); n != 1 {
		t.Errorf("%d deliveries, want 1", n)
	}
	a.patch(t, path, `{"filter":{"data.organization.subscription_tier":"starter"}}`, nil).json(t, 200) // replaced, not merged
	if n := publish("c.example", "starter") + publish("d.example", "premium"); n != 2+2 {
		t.Errorf("%d deliveries in two counts, want 4", n)
	}
	a.patch(t, path, `{"filter":null}`, nil).json(t, 200)
	if n := publish("e.example", "premium"); n != 3 {
		t.Errorf("%d deliveries, want 3", n)
	}
	if actions, rows := a.trail(t, path); len(actions) != 3 || !strings.Contains(rows, `"filter": {"data.organization.subscription_tier": "starter"}`) {
		t.Errorf("the audit trail tells of %v: %s", actions, rows)
	}
}
