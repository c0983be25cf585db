package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// put sends an endpoint under the uid crm.
func (a *api) put(t *testing.T, more string, header map[string]string) answer {
	t.Helper()
	return a.do(t, call{
		method: "POST", path: endpointsPath, key: bootstrapKey, header: header,
		body: `{"uid":"crm","url":"` + hook + `","events":["*"],"name":"CRM"` + more + `}`,
	})
}

const allSettings = `,"description":"x","timeout_seconds":3,"max_retries":4,"retry_schedule":[1,2],"rate_limit":5,"max_concurrency":6,"ordering":"organization",
	"breaker_failures":7,"breaker_max_open_seconds":8,"metadata":{"a":1},"headers":{"X-A":"b"},"authentication":{"type":"bearer","token":"c"}`

func TestAUIDThatExistsBecomesWhatTheBodySays(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	first := a.put(t, allSettings+`,"secret_key":"optional-secret-for-signatures"`, nil)
	made := first.json(t, 201)
	path := first.header.Get("Location")
	a.post(t, path+"/pause", "").json(t, 200)

	got := a.put(t, `,"metadata":{"b":2},"headers":{"X-C":"d"}`, nil)
	after := got.json(t, 200)
	if diff := cmp.Diff([]string{"id", "url", "message"}, keysOf(t, got.body)[:3]); diff != "" {
		t.Error(diff)
	}
	if after["message"] != "Webhook endpoint updated successfully" || got.header.Get("Location") != path || got.header.Get("ETag") == first.header.Get("ETag") {
		t.Errorf("%v %s", got.header, got.body)
	}
	fresh := a.post(t, endpointsPath, `{"url":"`+hook+`","events":["*"],"name":"CRM","metadata":{"b":2},"headers":{"X-C":"d"}}`).json(t, 201)
	for _, kept := range []string{"id", "uid", "created_at", "updated_at", "secret_set", "secret_last4", "paused_at", "message"} {
		fresh[kept] = after[kept]
	}
	if diff := cmp.Diff(fresh, after); diff != "" {
		t.Errorf("(-registered anew +brought up to date)\n%s", diff)
	}
	if after["id"] != made["id"] || after["secret_last4"] != "ures" || after["paused_at"] == nil || after["updated_at"] == made["updated_at"] {
		t.Errorf("got %s", got.body)
	}
	if actions, _ := a.trail(t, path); strings.Join(actions, " ") != "endpoint.create endpoint.pause endpoint.update" {
		t.Errorf("the audit trail has %v", actions)
	}
}

func TestTheSameUnderOneUIDTwiceLeavesNoTrace(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for name, body := range map[string]string{
		"nothing but what is required": "", "everything": allSettings,
		"with a secret": `,"secret_key":"optional-secret-for-signatures"`, "with a generated secret": `,"generate_secret":true`,
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"uid":"` + strings.ReplaceAll(name, " ", "-") + `","url":"` + hook + `","events":["*"],"name":"CRM"` + body + `}`
			first := a.post(t, endpointsPath, body)
			made := first.json(t, 201)
			again := a.post(t, endpointsPath, body)
			found := again.json(t, 200)
			if _, shown := found["secret_key"]; shown || first.header.Get("ETag") != again.header.Get("ETag") {
				t.Errorf("%v: %s", again.header, again.body)
			}
			delete(made, "secret_key")
			made["message"] = found["message"]
			if diff := cmp.Diff(made, found); diff != "" {
				t.Error(diff)
			}
			if actions, _ := a.trail(t, first.header.Get("Location")); len(actions) != 1 {
				t.Errorf("the audit trail has %v", actions)
			}
		})
	}
}

func TestOneUIDIsOneEndpointHoweverManyRegisterIt(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const callers = 50
	answers := make(chan answer, callers)
	for i := range callers {
		go func() { answers <- a.put(t, fmt.Sprintf(`,"metadata":{"caller":%d}`, i), nil) }()
	}
	ids, made := map[any]bool{}, 0
	for range callers {
		got := <-answers
		if got.status == 201 {
			made++
		}
		ids[got.json(t, got.status)["id"]] = true
	}
	list := a.get(t, endpointsPath).json(t, 200)["data"].([]any)
	if made != 1 || len(ids) != 1 || len(list) != 1 {
		t.Errorf("%d times made, %d ids, %d endpoints", made, len(ids), len(list))
	}
	if actions, _ := a.trail(t, endpointsPath+"/"+list[0].(map[string]any)["id"].(string)); len(actions) != callers {
		t.Errorf("%d changes are in the audit trail", len(actions))
	}
}

func TestASecretUnderAUIDChangesOnlyWhenAnotherIsGiven(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const one, other = `,"secret_key":"optional-secret-for-signatures"`, `,"secret_key":"another-secret-for-signatures!"`
	a.put(t, "", nil).json(t, 201)
	for _, step := range []struct {
		more              string
		last4             any
		shown, overlapped bool
	}{
		{one, "ures", false, false}, // the first: there is none to sign beside it
		{"", "ures", false, false},
		{`,"generate_secret":true`, "ures", false, false},
		{other, "res!", false, true},
		{other, "res!", false, true},
	} {
		got := a.put(t, step.more, nil).json(t, 200)
		_, shown := got["secret_key"]
		if got["secret_last4"] != step.last4 || shown != step.shown || (got["previous_secret_expires_at"] != nil) != step.overlapped {
			t.Errorf("%s: %v, shown: %v, until %v", step.more, got["secret_last4"], shown, got["previous_secret_expires_at"])
		}
	}
	a.change(t, `UPDATE sonicus.endpoints SET secret = NULL, secret_last4 = NULL, previous_secret = NULL, previous_secret_expires_at = NULL`)
	if got := a.put(t, `,"generate_secret":true`, nil).json(t, 200); got["secret_key"] == nil || got["secret_set"] != true {
		t.Errorf("none was generated: %v", got)
	}
	a.change(t, unreadable)
	a.put(t, "", nil).json(t, 200) // the headers are replaced, and the secret is not looked at
	a.put(t, one, nil).problem(t, 409, "secret_unreadable")
}

func TestAUIDStaysWithItsOrganization(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	made := a.post(t, organizationsPath, `{"name":"A","domain":"a.example.com","primary_contact_email":"a@example.com"}`).json(t, 201)
	own := `,"organization_id":"` + made["id"].(string) + `"`
	a.put(t, own, nil).json(t, 201)
	a.put(t, own+`,"description":"x"`, nil).json(t, 200)
	for _, other := range []string{"", `,"organization_id":"` + uuid.NewString() + `"`} {
		a.put(t, other, nil).problem(t, 409, "organization_mismatch")
	}
	onboarding := `{"name":"B","domain":"b.example.com","primary_contact_email":"b@example.com","admin_user":{"email":"b@example.com","full_name":"B"},
		"webhook_endpoints":[{"uid":"%s","url":"` + hook + `","events":["*"],"name":"CRM"}]}`
	a.post(t, "/api/v1/organization-crud/organizations", fmt.Sprintf(onboarding, "crm")).problem(t, 409, "uid_taken")
	a.post(t, "/api/v1/organization-crud/organizations", fmt.Sprintf(onboarding, "crm.b")).json(t, 201)
}

func TestOnboardingNamesWhichUIDIsTaken(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put(t, "", nil).json(t, 201)
	for name, c := range map[string]struct{ uids, field string }{
		"by one that is registered":    {"erp bi crm", "webhook_endpoints[2].uid"},
		"twice in the same request":    {"erp bi erp", "webhook_endpoints[2].uid"},
		"the first of the request":     {"crm bi", "webhook_endpoints[0].uid"},
		"right after one without name": {"- crm", "webhook_endpoints[1].uid"},
	} {
		var endpoints []string
		for uid := range strings.FieldsSeq(c.uids) {
			endpoints = append(endpoints, strings.Replace(`{"uid":"`+uid+`","url":"`+hook+`","events":["*"],"name":"x"}`, `"uid":"-",`, "", 1))
		}
		d := a.post(t, "/api/v1/organization-crud/organizations", `{"name":"B","domain":"b.example.com","primary_contact_email":"b@example.com",
			"admin_user":{"email":"b@example.com","full_name":"B"},"webhook_endpoints":[`+strings.Join(endpoints, ",")+`]}`).problem(t, 409, "uid_taken")
		if d.fieldNames() != c.field {
			t.Errorf("%s: got %s, want %s", name, d.fieldNames(), c.field)
		}
	}
	if d := a.get(t, endpointsPath).json(t, 200)["data"].([]any); len(d) != 1 {
		t.Errorf("%d endpoints, want the one of before", len(d))
	}
}

func TestAStaleWriteUnderAUIDIsRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	match := func(tag string) map[string]string { return map[string]string{"If-Match": tag} }
	a.put(t, "", match(`"1"`)).problem(t, 412, "precondition_failed") // there is none that could match
	first := a.put(t, "", nil).header.Get("ETag")
	second := a.put(t, `,"description":"x"`, match(first)).header.Get("ETag")
	a.put(t, `,"description":"lost"`, match(first)).problem(t, 412, "precondition_failed")
	a.put(t, `,"description":"y"`, match(second)).json(t, 200)
	a.put(t, `,"description":"z"`, match("*")).json(t, 200)
}

func TestAUIDIsFreeAgainOnceItsEndpointIsDeleted(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	first := a.put(t, "", nil)
	a.remove(t, first.header.Get("Location"))
	second := a.put(t, "", nil)
	if second.json(t, 201); second.header.Get("Location") == first.header.Get("Location") {
		t.Error("the deleted endpoint is back")
	}
	a.put(t, "", nil).json(t, 200)
	if list := a.get(t, endpointsPath+"?uid=crm").json(t, 200); len(list["data"].([]any)) != 1 {
		t.Errorf("listed: %v", list)
	}
	a.register(t, "")
	if list := a.get(t, endpointsPath+"?uid=CRM").json(t, 200); len(list["data"].([]any)) != 0 {
		t.Errorf("listed: %v", list)
	}
}

func TestRetriesFollowTheScheduleUnlessTheyAreGiven(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, _ := a.register(t, `,"retry_schedule":[60,600,3600]`)
	if got := a.get(t, path).json(t, 200); got["max_retries"] != 3.0 {
		t.Errorf("registered with %v", got["max_retries"])
	}
	for _, step := range []struct {
		patch    string
		retries  float64
		schedule []any
	}{
		{`{"retry_schedule":[5,6]}`, 3, []any{5.0, 6.0}},
		{`{"max_retries":null}`, 2, []any{5.0, 6.0}},
		{`{"max_retries":50}`, 50, []any{5.0, 6.0}},
		{`{"retry_schedule":[7],"max_retries":null}`, 1, []any{7.0}},
		{`{"max_retries":0,"retry_schedule":[8,9]}`, 0, []any{8.0, 9.0}},
		{`{"retry_schedule":null}`, 0, nil},
		{`{"max_retries":null}`, 9, nil},
	} {
		got := a.patch(t, path, step.patch, nil).json(t, 200)
		schedule, _ := got["retry_schedule"].([]any)
		if diff := cmp.Diff(step.schedule, schedule); diff != "" || got["max_retries"] != step.retries {
			t.Errorf("%s: %v %s", step.patch, got["max_retries"], diff)
		}
	}
}

func TestAUIDAndAnIdempotencyKeyGoTogether(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	key := func(k string) map[string]string { return map[string]string{"Idempotency-Key": k} }
	first := a.put(t, `,"generate_secret":true`, key("one"))
	again := a.put(t, `,"generate_secret":true`, key("one"))
	if first.json(t, 201); again.status != 201 || again.body != first.body || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%d %s", again.status, again.body)
	}
	changed := a.put(t, `,"description":"x"`, key("two"))
	replayed := a.put(t, `,"description":"x"`, key("two"))
	if changed.json(t, 200); replayed.status != 200 || replayed.body != changed.body || replayed.header.Get("ETag") != changed.header.Get("ETag") {
		t.Errorf("%d %s", replayed.status, replayed.body)
	}
	a.put(t, `,"description":"y"`, key("two")).problem(t, 422, "idempotency_key_reused")
}
