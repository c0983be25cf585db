package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/signature"
)

// register creates an endpoint and returns its path and its ETag.
func (a *api) register(t *testing.T, more string) (path, etag string) {
	t.Helper()
	made := a.post(t, endpointsPath, `{"url":"`+hook+`","events":["*"],"name":"CRM"`+more+`}`)
	made.json(t, 201)
	return made.header.Get("Location"), made.header.Get("ETag")
}

func (a *api) patch(t *testing.T, path, body string, header map[string]string) answer {
	t.Helper()
	return a.do(t, call{method: "PATCH", path: path, key: bootstrapKey, body: body, header: header})
}

func (a *api) remove(t *testing.T, path string) {
	t.Helper()
	if got := a.do(t, call{method: "DELETE", path: path, key: bootstrapKey}); got.status != 204 || got.body != "" {
		t.Fatalf("DELETE %s: %d %s", path, got.status, got.body)
	}
}

// trail returns what the audit trail tells of the endpoint, oldest first.
func (a *api) trail(t *testing.T, path string) (actions []string, rows string) {
	t.Helper()
	var found []struct {
		Action string `db:"action"`
		Row    string `db:"row"`
	}
	id := strings.TrimPrefix(path, endpointsPath+"/")
	err := a.db.SelectContext(t.Context(), &found, `SELECT action, to_jsonb(a)::text AS row FROM sonicus.audit_log a WHERE object_type = 'endpoint' AND object_id = $1 ORDER BY at, id`, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		actions, rows = append(actions, f.Action), rows+f.Row+"\n"
	}
	return actions, rows
}

func TestETagFollowsTheSettingsAndNotTheHealth(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, made := a.register(t, "")
	read := func() string {
		got := a.get(t, path)
		got.json(t, 200)
		return got.header.Get("ETag")
	}
	if made == "" || made != read() {
		t.Errorf("registered under %s, read under %s", made, read())
	}
	a.change(t, `UPDATE sonicus.lanes SET failures = 3, failing_since = now(), last_failure_at = now()`)
	if got := read(); got != made {
		t.Errorf("a failed attempt changed it from %s to %s", made, got)
	}
	a.change(t, `UPDATE sonicus.endpoints SET name = 'ERP'`)
	if got := read(); got == made {
		t.Error("another name has the same ETag")
	}
	if got := a.get(t, endpointsPath).header.Get("ETag"); got != "" {
		t.Errorf("a list has the ETag %s", got)
	}
}

func TestPatchChangesWhatItNamesAndNothingElse(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const all = `"url":"http://127.0.0.1:8801/other","events":["organization.*"],"name":"ERP","description":"R&D <b>","timeout_seconds":3,"max_retries":0,"retry_schedule":[60,86400],
		"rate_limit":5,"max_concurrency":6,"ordering":"organization","breaker_failures":0,"breaker_max_open_seconds":7,"filter":{"data.a":{"in":["x",1,null]},"or":[{"event_type":"y"}]},"metadata":{"team":"erp"}`
	var values map[string]any
	if err := json.Unmarshal([]byte(`{`+all+`}`), &values); err != nil {
		t.Fatal(err)
	}
	for field, value := range values {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			path, tag := a.register(t, "")
			before := a.get(t, path).json(t, 200)
			body, err := json.Marshal(map[string]any{field: value})
			if err != nil {
				t.Fatal(err)
			}
			got := a.patch(t, path, string(body), map[string]string{"Content-Type": "application/merge-patch+json", "If-Match": tag})
			after := got.json(t, 200)
			want := before
			want[field], want["updated_at"] = value, after["updated_at"]
			if diff := cmp.Diff(want, after); diff != "" {
				t.Error(diff)
			}
			if found := a.get(t, path); found.body != got.body || found.header.Get("ETag") != got.header.Get("ETag") || tag == got.header.Get("ETag") {
				t.Errorf("read back: %s %s, want %s", found.header.Get("ETag"), found.body, got.body)
			}
			if after["updated_at"] == before["created_at"] {
				t.Error("updated_at has stayed")
			}
		})
	}
	_, optional, _ := strings.Cut(all, `"ERP"`)
	path, _ := a.register(t, optional)
	reset := a.patch(t, path, `{"description":null,"timeout_seconds":null,"max_retries":null,"retry_schedule":null,"rate_limit":null,"max_concurrency":null,"ordering":null,
		"breaker_failures":null,"breaker_max_open_seconds":null,"filter":null,"metadata":null}`, nil).json(t, 200)
	fresh, _ := a.register(t, "")
	want := a.get(t, fresh).json(t, 200)
	for _, own := range []string{"id", "created_at", "updated_at", "name"} {
		want[own] = reset[own]
	}
	if diff := cmp.Diff(want, reset); diff != "" {
		t.Errorf("null is not the default: %s", diff)
	}
}

func TestPatchThatChangesNothingLeavesNoTrace(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, tag := a.register(t, `,"metadata":{"b":1,"a":{"c":[1.0,"x"]}},"rate_limit":5,"retry_schedule":[60,60]`)
	before := a.get(t, path)
	for _, body := range []string{`{}`, `{"name":"CRM"}`, `{"retry_schedule":[60,60],"max_retries":null}`, `{"max_retries":null}`, `{"rate_limit":5,"timeout_seconds":null,"max_concurrency":null}`, `{"metadata":{"a":{"c":[1.0,"x"]}}}`, `{"metadata":{"none":null}}`, `{"url":"HTTP://127.0.0.1:8800/hook"}`} {
		got := a.patch(t, path, body, nil)
		if got.status != 200 || got.body != before.body || got.header.Get("ETag") != tag {
			t.Errorf("%s: %d %s %s", body, got.status, got.header.Get("ETag"), got.body)
		}
	}
	if actions, _ := a.trail(t, path); len(actions) != 1 {
		t.Errorf("the audit trail has %v", actions)
	}
}

func TestPatchMergesMetadata(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, _ := a.register(t, `,"metadata":{"a":1,"b":{"c":"<2>","d":12345678901234567890},"e":[1]}`)
	got := a.patch(t, path, `{"metadata":{"a":null,"b":{"c":null,"f":{"g":null}},"e":{"h":true}}}`, nil)
	if !strings.Contains(got.body, `"metadata":{"b":{"d":12345678901234567890,"f":{}},"e":{"h":true}}`) {
		t.Errorf("got %s", got.body)
	}
	large := strings.Repeat("<", 9<<10)
	a.patch(t, path, `{"metadata":{"x":"`+large+`"}}`, nil).json(t, 200)
	a.patch(t, path, `{"metadata":{"y":"`+large+`"}}`, nil).problem(t, 422, "too_large")
}

func TestStalePatchIsRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, first := a.register(t, "")
	second := a.patch(t, path, `{"name":"ERP"}`, map[string]string{"If-Match": first}).header.Get("ETag")
	for _, stale := range []string{first, "W/" + second, strings.Trim(second, `"`), `"x y"`, `""`, "x", first + ", W/" + second} {
		got := a.patch(t, path, `{"name":"lost"}`, map[string]string{"If-Match": stale})
		got.problem(t, 412, "precondition_failed")
	}
	for _, fresh := range []string{"*", second, first + " , " + second} {
		if got := a.patch(t, path, `{"name":"ERP"}`, map[string]string{"If-Match": fresh}); got.status != 200 {
			t.Errorf("%s: %s", fresh, got.body)
		}
	}
}

func TestConcurrentPatchesLoseNothing(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, tag := a.register(t, "")
	const writers = 8
	answers := make(chan answer, writers)
	for i := range writers {
		go func() {
			answers <- a.patch(t, path, fmt.Sprintf(`{"metadata":{"w%d":true}}`, i), map[string]string{"If-Match": tag})
		}()
	}
	won := 0
	for range writers {
		if got := <-answers; got.status == 200 {
			won++
		} else {
			got.problem(t, 412, "precondition_failed")
		}
	}
	if won != 1 {
		t.Errorf("%d of %d changed the same version", won, writers)
	}
}

func TestPatchRefusesAllThatIsWrongAtOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, _ := a.register(t, "")
	d := a.patch(t, path, `{"url":"ftp://x","events":["no"],"name":" ","timeout_seconds":31,"ordering":"fifo"}`, nil).problem(t, 422, "validation_failed")
	if got := d.fieldNames(); got != "url events[0] name timeout_seconds ordering" {
		t.Errorf("named %s", got)
	}
	d = a.patch(t, path, `{"organization_id":null,"is_active":true,"secret_key":"x","uid":"z","id":"y","url":null,"events":null,"name":null,"max_retries":"3"}`, nil).problem(t, 422, "validation_failed")
	if got := d.fieldNames(); got != "uid organization_id is_active secret_key url events name max_retries id" {
		t.Errorf("named %s", got)
	}
	for field, says := range map[string]string{
		`{"is_active":false}`: "…/disable", `{"secret_key":null}`: "…/rotate-secret", `{"organization_id":"x"}`: "register another endpoint", `{"url":null}`: "cannot be removed",
	} {
		if d := a.patch(t, path, field, nil); !strings.Contains(d.body, says) {
			t.Errorf("%s: %s", field, d.body)
		}
	}
	a.patch(t, path, `{"url":"http://10.0.0.1/"}`, nil).problem(t, 422, "blocked_address")
	a.patch(t, path, `{}`, map[string]string{"Content-Type": "text/json"}).problem(t, 415, "unsupported_media_type")
	a.do(t, call{method: "POST", path: endpointsPath, key: bootstrapKey, body: `{}`, header: map[string]string{"Content-Type": mergePatch}}).problem(t, 415, "unsupported_media_type")
}

func TestPatchValidatesEveryFieldAsTheCreationDoes(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, _ := a.register(t, "")
	for field, values := range badEndpoint {
		for _, value := range values {
			body, err := json.Marshal(map[string]any{field: value})
			if err != nil {
				t.Fatal(err)
			}
			if got := a.patch(t, path, string(body), nil); got.status != 422 || !strings.Contains(got.body, `"field":"`+field) {
				t.Errorf("%s: %d %s", shorten(string(body)), got.status, got.body)
			}
		}
	}
	if got, want := a.get(t, path).json(t, 200), "CRM"; got["name"] != want || got["created_at"] != got["updated_at"] {
		t.Errorf("changed: %v", got)
	}
}

func TestWritesOfNoEndpointCannotBeToldApart(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	deleted, _ := a.register(t, "")
	a.remove(t, deleted)
	const request = "6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11"
	for _, w := range []call{{method: "GET"}, {method: "DELETE"}, {method: "POST /enable"}, {method: "POST /disable"}, {method: "POST /pause"}, {method: "POST /resume"}, {method: "POST /rotate-secret"}, {method: "PATCH", body: `{"name":"x"}`, header: map[string]string{"If-Match": `"1"`}}} {
		var first string
		for _, path := range []string{deleted, endpointsPath + "/" + uuid.NewString(), endpointsPath + "/" + uuid.Max.String(), endpointsPath + "/1", endpointsPath + "/%00"} {
			header := map[string]string{"X-Request-Id": request}
			for k, v := range w.header {
				header[k] = v
			}
			method, action, _ := strings.Cut(w.method, " ")
			got := a.do(t, call{method: method, path: path + action, key: bootstrapKey, body: w.body, header: header})
			got.problem(t, 404, "not_found")
			if first == "" {
				first = got.body
			}
			if got.body != first {
				t.Errorf("%s %s: %s", w.method, path, got.body)
			}
		}
	}
}

func TestWritesAreInTheAuditTrailWithoutSecrets(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const marker = "marker-0123456789-0123456789-0123456789"
	path, _ := a.register(t, `,"secret_key":"`+marker+`"`)
	a.patch(t, path, `{"name":"ERP"}`, map[string]string{"X-Request-Id": "6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11"}).json(t, 200)
	a.remove(t, path)
	actions, rows := a.trail(t, path)
	if diff := cmp.Diff([]string{"endpoint.create", "endpoint.update", "endpoint.delete"}, actions); diff != "" {
		t.Error(diff)
	}
	for _, wanted := range []string{`"before": null`, `"after": null`, `"name": "ERP"`, `"name": "CRM"`, `"request_id": "6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11"`, `"secret_last4": "6789"`, `"actor": "bootstrap`} {
		if !strings.Contains(rows, wanted) {
			t.Errorf("no %s in %s", wanted, rows)
		}
	}
	if strings.Contains(rows, marker) || strings.Contains(rows, "v1.test.") {
		t.Error("a secret is in the audit trail")
	}
}

// Receivers take tokens in the query of their URL, and audit rows stay for good.
func TestTheAuditTrailKeepsNoQueryOfAURL(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	made := a.post(t, endpointsPath, `{"url":"`+hook+`?token=first-marker","events":["*"],"name":"CRM"}`)
	path := made.header.Get("Location")
	if got := made.json(t, 201)["url"]; got != hook+"?token=first-marker" {
		t.Errorf("answered %v", got)
	}
	a.patch(t, path, `{"url":"`+hook+`?token=second-marker"}`, nil).json(t, 200)
	a.post(t, path+"/pause", "").json(t, 200)
	a.remove(t, path)
	actions, rows := a.trail(t, path)
	if len(actions) != 4 || strings.Count(rows, `"url": "`+hook+`?…"`) != 6 || strings.Contains(rows, "marker") {
		t.Errorf("%v: %s", actions, rows)
	}
}

func TestDeletionErasesTheSecretsAndNothingIsPublishedAnyMore(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, tag := a.register(t, `,"generate_secret":true`)
	a.patch(t, path, `{"name":"ERP"}`, nil)
	a.do(t, call{method: "DELETE", path: path, key: bootstrapKey, header: map[string]string{"If-Match": tag}}).problem(t, 412, "precondition_failed")
	a.remove(t, path)
	var left int
	if err := a.db.GetContext(t.Context(), &left, `SELECT count(*) FROM sonicus.endpoints e WHERE e::text LIKE '%v1.%'`); err != nil || left != 0 {
		t.Errorf("%d secrets are left (%v)", left, err)
	}
	if list := a.get(t, endpointsPath); !strings.HasPrefix(list.body, `{"data":[],`) {
		t.Errorf("listed: %s", list.body)
	}
	a.post(t, organizationsPath, `{"name":"A","domain":"a.example.com","primary_contact_email":"a@example.com"}`).json(t, 201)
	if err := a.db.GetContext(t.Context(), &left, `SELECT count(*) FROM sonicus.deliveries`); err != nil || left != 0 {
		t.Errorf("%d deliveries (%v)", left, err)
	}
}

func TestStatesAreTurnedOnceAndAnsweredEveryTime(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, tag := a.register(t, "")
	for _, step := range []struct {
		action string
		want   map[string]any // nil stands for a time
	}{
		{"enable", map[string]any{"is_active": true, "disabled_reason": "none"}},
		{"resume", map[string]any{"paused_at": "none"}},
		{"pause", map[string]any{"paused_at": nil, "is_active": true}},
		{"disable", map[string]any{"is_active": false, "disabled_reason": "manual", "disabled_at": nil, "paused_at": nil}},
		{"resume", map[string]any{"is_active": false, "paused_at": "none"}},
		{"enable", map[string]any{"is_active": true, "disabled_reason": "none", "disabled_at": "none"}},
	} {
		first := a.post(t, path+"/"+step.action, "")
		shown := first.json(t, 200)
		for field, want := range step.want {
			switch got, isText := shown[field].(string); {
			case want == nil && !timestamp.MatchString(got), want == "none" && shown[field] != nil, want != nil && want != "none" && shown[field] != want:
				t.Errorf("%s: %s is %v (text: %v)", step.action, field, shown[field], isText)
			}
		}
		second := a.post(t, path+"/"+step.action, "")
		if second.status != 200 || second.body != first.body || second.header.Get("ETag") != first.header.Get("ETag") {
			t.Errorf("%s again: %s, at first %s", step.action, second.body, first.body)
		}
		if found := a.get(t, path); found.body != first.body {
			t.Errorf("%s: read back %s, answered %s", step.action, found.body, first.body)
		}
		if shown["created_at"] == shown["updated_at"] != (first.header.Get("ETag") == tag) {
			t.Errorf("%s: updated_at %v, ETag %s", step.action, shown["updated_at"], first.header.Get("ETag"))
		}
	}
	actions, _ := a.trail(t, path)
	if diff := cmp.Diff([]string{"endpoint.create", "endpoint.pause", "endpoint.disable", "endpoint.resume", "endpoint.enable"}, actions); diff != "" {
		t.Error(diff)
	}
}

func TestDisablingKeepsAnEarlierReason(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, _ := a.register(t, "")
	a.change(t, `UPDATE sonicus.endpoints SET is_active = false, disabled_reason = 'gone', disabled_at = now()`)
	if shown := a.post(t, path+"/disable", "").json(t, 200); shown["disabled_reason"] != "gone" {
		t.Errorf("the reason is %v", shown["disabled_reason"])
	}
}

func TestRotationAnswersTheNewSecretOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, tag := a.register(t, "")
	first := a.post(t, path+"/rotate-secret", "")
	shown := first.json(t, 200)
	made, _ := shown["secret_key"].(string)
	if signature.CheckSecret(made) != nil || shown["secret_set"] != true || !strings.HasSuffix(made, shown["secret_last4"].(string)) || shown["previous_secret_expires_at"] != nil {
		t.Errorf("the first secret: %s", first.body)
	}
	if first.header.Get("ETag") == tag {
		t.Error("the ETag has stayed")
	}
	given := "marker-0123456789-0123456789-0123456789"
	second := a.post(t, path+"/rotate-secret", `{"overlap_seconds":604800,"secret_key":"`+given+`"}`).json(t, 200)
	if until, _ := second["previous_secret_expires_at"].(string); second["secret_key"] != given || second["secret_last4"] != "6789" || !timestamp.MatchString(until) {
		t.Errorf("the second secret: %v", second)
	}
	found := a.get(t, path)
	if shown := found.json(t, 200); shown["secret_key"] != nil || shown["previous_secret_expires_at"] != second["previous_secret_expires_at"] {
		t.Errorf("read back: %s", found.body)
	}
	third := a.post(t, path+"/rotate-secret", `{"overlap_seconds":0}`).json(t, 200)
	if third["previous_secret_expires_at"] != nil || third["secret_key"] == given {
		t.Errorf("the third secret: %v", third)
	}
	actions, rows := a.trail(t, path)
	if diff := cmp.Diff([]string{"endpoint.create", "endpoint.rotate_secret", "endpoint.rotate_secret", "endpoint.rotate_secret"}, actions); diff != "" {
		t.Error(diff)
	}
	for _, hidden := range []string{made, given, "v1.test."} {
		if strings.Contains(rows, hidden) || strings.Contains(a.logs.String(), hidden) {
			t.Error("a secret is in the audit trail or in the log")
		}
	}
	for body, field := range map[string]string{
		`{"overlap_seconds":-1}`: "overlap_seconds", `{"overlap_seconds":604801}`: "overlap_seconds", `{"secret_key":"short"}`: "secret_key", `{"secret_key":""}`: "secret_key", `{"secret":"x"}`: "secret",
	} {
		if got := a.post(t, path+"/rotate-secret", body); got.status != 422 || !strings.Contains(got.body, `"field":"`+field+`"`) {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
}

func TestEndpointsAreFiltered(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	made := a.post(t, organizationsPath, `{"name":"A","domain":"a.example.com","primary_contact_email":"a@example.com"}`).json(t, 201)
	org, _ := made["id"].(string)
	names := map[string]string{}
	for name, more := range map[string]string{
		"plain": `,"events":["*"]`, "own": `,"events":["organization.created"],"organization_id":"` + org + `"`, "ops": `,"events":["webhook.*"]`,
		"failing": `,"events":["organization.*"]`, "open": `,"events":["*"]`, "paused": `,"events":["*"]`, "off": `,"events":["*"]`, "100%_\\x": `,"events":["*"]`,
	} {
		id, _ := a.post(t, endpointsPath, `{"url":"`+hook+`/`+strings.ToUpper(name[:2])+`","name":`+strconv.Quote(name)+more+`}`).json(t, 201)["id"].(string)
		names[id] = name
	}
	a.change(t, `UPDATE sonicus.lanes l SET failing_since = now() FROM sonicus.endpoints e WHERE e.id = l.endpoint_id AND e.name IN ('failing', 'open', 'off')`)
	a.change(t, `UPDATE sonicus.lanes l SET breaker_state = 'open', breaker_until = now() FROM sonicus.endpoints e WHERE e.id = l.endpoint_id AND e.name IN ('open', 'off')`)
	a.change(t, `UPDATE sonicus.endpoints SET paused_at = now() WHERE name IN ('paused', 'off')`)
	a.change(t, `UPDATE sonicus.endpoints SET is_active = false WHERE name = 'off'`)
	const all = "100%_\\x failing off open ops own paused plain"
	for query, want := range map[string]string{
		"": all, "active=false": "off", "active=true": strings.Replace(all, "off ", "", 1),
		"organization_id=" + org: "own", "organization_id=" + uuid.NewString(): "",
		"event=organization.created": strings.Replace(all, "ops ", "", 1), "event=webhook.endpoint.disabled": "ops",
		"health=ok": "100%_\\x ops own plain", "health=failing": "failing", "health=open": "open", "health=paused": "paused", "health=disabled": "off",
		"q=OFF": "off", "q=pA": "paused", "q=%25": "100%_\\x", "q=_": "100%_\\x", "q=0%25_%5C": "100%_\\x", "q=%5C": "100%_\\x", "q=8800%2Fhook%2Fpl": "plain", "q=none": "",
		"q=o&health=ok&active=true&event=organization.created&organization_id=" + org: "own",
	} {
		var got []string
		for path := endpointsPath + "?limit=3&" + query; path != ""; {
			p := a.get(t, path).json(t, 200)
			for _, e := range p["data"].([]any) {
				got = append(got, names[e.(map[string]any)["id"].(string)])
			}
			path = ""
			if next, more := p["next_cursor"].(string); more {
				path = endpointsPath + "?limit=3&cursor=" + next + "&" + query
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", query, got, want)
		}
	}
	for query, fields := range map[string]string{
		"active=1": "active", "active=": "active", "active=true&active=false": "active", "organization_id=x": "organization_id", "event=organization.*": "event",
		"event=none": "event", "health=well": "health", "q=": "q", "q=%00": "q", "q=%ff": "q", "q=" + strings.Repeat("a", 1001): "q", "Q=x": "Q",
		"name=x&active=yes&limit=0": "active limit name",
	} {
		got := a.get(t, endpointsPath+"?"+query)
		var d document
		if err := json.Unmarshal([]byte(got.body), &d); err != nil || got.status != 422 || d.fieldNames() != fields {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
}

func TestHeadersAreMergedAndNeverShown(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const marker = "marker-0123456789-0123456789-0123456789"
	made := a.post(t, endpointsPath, `{"url":"`+hook+`","events":["*"],"name":"CRM","headers":{"X-Token":"`+marker+`","X-Tenant":"acme"}}`)
	made.json(t, 201)
	path := made.header.Get("Location")
	for _, step := range []struct{ patch, shown string }{
		{`{}`, `"headers":{"X-Tenant":"********","X-Token":"********"}`},
		{`{"headers":{"x-token":"` + marker + `2"}}`, `"headers":{"X-Tenant":"********","x-token":"********"}`},
		{`{"headers":{"X-TOKEN":null,"X-Other":"3"}}`, `"headers":{"X-Other":"********","X-Tenant":"********"}`},
		{`{"authentication":{"type":"basic","username":"ada","password":"` + marker + `"}}`, `"headers":{"Authorization":"********","X-Other":"********","X-Tenant":"********"}`},
		{`{"authentication":null}`, `"headers":{"X-Other":"********","X-Tenant":"********"}`},
		{`{"authentication":{"type":"bearer","token":"` + marker + `"},"headers":null}`, `"headers":{"Authorization":"********"}`},
		{`{"headers":null}`, `"headers":{}`},
		{`{"headers":{"X-Token":"` + marker + `"}}`, `"headers":{"X-Token":"********"}`},
	} {
		got := a.patch(t, path, step.patch, nil)
		if got.status != 200 || !strings.Contains(got.body, step.shown) {
			t.Errorf("%s: %d %s", step.patch, got.status, got.body)
		}
		if found := a.get(t, path); found.body != got.body || strings.Contains(found.body, marker) {
			t.Errorf("%s: read back %s", step.patch, found.body)
		}
	}
	before := a.get(t, path)
	same := a.patch(t, path, `{"headers":{"X-Token":"`+marker+`","X-None":null}}`, nil)
	if same.body != before.body || same.header.Get("ETag") != before.header.Get("ETag") {
		t.Errorf("the same headers changed %s to %s", before.body, same.body)
	}
	body, err := json.Marshal(map[string]any{"headers": manyHeaders(20)})
	if err != nil {
		t.Fatal(err)
	}
	a.patch(t, path, string(body), nil).problem(t, 422, "too_many")

	var stored string
	if err := a.db.GetContext(t.Context(), &stored, `SELECT string_agg(e::text, '') FROM sonicus.endpoints e`); err != nil {
		t.Fatal(err)
	}
	_, rows := a.trail(t, path)
	for where, text := range map[string]string{"the table": stored, "the audit trail": rows, "the log": a.logs.String()} {
		if strings.Contains(text, marker) {
			t.Errorf("a value is in %s", where)
		}
	}
	a.patch(t, path, `{"authentication":{"type":"bearer","token":"x"},"headers":{"authorization":"y"}}`, nil).problem(t, 422, "exclusive")
	a.change(t, `UPDATE sonicus.endpoints SET headers = 'v1.lost.AAAA.AAAA'`)
	a.patch(t, path, `{"headers":{"X-A":"b"}}`, nil).problem(t, 409, "secret_unreadable")
	a.patch(t, path, `{"headers":null}`, nil).json(t, 200)
	a.remove(t, path)
}
