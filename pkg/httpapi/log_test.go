package httpapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
)

func TestOneLinePerRequest(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	key := a.createKey(t, "crm", access.Admin)
	tests := map[string]struct {
		call
		want map[string]any
	}{
		"good":      {call{method: "GET", path: "/api/v1/organizations?limit=1", key: key}, map[string]any{"level": "INFO", "method": "GET", "route": "/api/v1/organizations", "status": 200.0, "key_name": "crm"}},
		"by id":     {call{method: "GET", path: "/api/v1/organizations/x", key: key}, map[string]any{"level": "INFO", "method": "GET", "route": "/api/v1/organizations/:id", "status": 404.0, "key_name": "crm", "code": "not_found"}},
		"invalid":   {call{method: "POST", path: "/api/v1/organizations/", key: bootstrapKey, body: "{}"}, map[string]any{"level": "INFO", "method": "POST", "route": "/api/v1/organizations/", "status": 422.0, "key_name": "bootstrap", "code": "validation_failed"}},
		"bad key":   {call{method: "GET", path: "/api/v1/organizations", key: "snk_"}, map[string]any{"level": "WARN", "method": "GET", "route": "/api/v1/organizations", "status": 401.0, "code": "unauthenticated", "error": access.ErrUnknown.Error()}},
		"forbidden": {call{method: "POST", path: "/api/v1/webhooks/endpoints", key: key}, map[string]any{"level": "WARN", "method": "POST", "route": "/api/v1/webhooks/endpoints", "status": 403.0, "key_name": "crm", "code": "forbidden"}},
		"no path":   {call{method: "GET", path: "/secret-in-a-path"}, map[string]any{"level": "INFO", "method": "GET", "route": "", "status": 404.0, "code": "not_found"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := uuid.NewString()
			tt.header = map[string]string{"X-Request-Id": id}
			a.do(t, tt.call)
			line := a.logs.line(t, id)
			if took, ok := line["took"].(float64); !ok || took <= 0 {
				t.Errorf("took %v", line["took"])
			}
			tt.want["msg"], tt.want["request_id"], tt.want["remote_ip"] = "request", id, "127.0.0.1"
			delete(line, "time")
			delete(line, "took")
			if diff := cmp.Diff(tt.want, line); diff != "" {
				t.Error(diff)
			}
			if n := strings.Count(a.logs.String(), id); n != 1 {
				t.Errorf("%d lines", n)
			}
		})
	}
}

func TestClientsCannotForgeTheirAddress(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := uuid.NewString()
	a.do(t, call{method: "GET", path: "/", header: map[string]string{"X-Request-Id": id, "X-Forwarded-For": "1.2.3.4", "X-Real-Ip": "1.2.3.4", "Forwarded": "for=1.2.3.4"}})
	if line := a.logs.line(t, id); line["remote_ip"] != "127.0.0.1" {
		t.Errorf("got %v", line)
	}
}

func TestClientsCannotBreakLogLines(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, evil := range []string{"a\r\n{\"level\":\"ERROR\"}", "\x1b[31m", "\u2028", "\x00"} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", http.NoBody)
		r.Method, r.RemoteAddr = evil, evil
		r.URL.Path, r.URL.RawQuery = base+"/"+evil, evil
		r.Header = http.Header{"Authorization": {"Bearer " + evil}, "X-Request-Id": {evil}}
		a.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	lines := strings.Split(strings.TrimSuffix(a.logs.String(), "\n"), "\n")
	if len(lines) != 4 {
		t.Errorf("%d lines for 4 requests: %q", len(lines), lines)
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) || strings.ContainsRune(line, 0x1b) {
			t.Errorf("broken line %q", line)
		}
	}
}

func TestSecretsReachNeitherLogsNorAnswers(t *testing.T) {
	t.Parallel()
	const marker = "MARKER0123456789abcdefghijklmnopqrstuvwx"
	a := newAPI(t)
	endpointBody := func(more string) string {
		return `{"url":"` + hook + `?token=` + marker + `","events":["*"],"name":"CRM","secret_key":"` + marker + `"` + more + `}`
	}
	calls := map[string]call{
		"as a token":           {method: "GET", path: organizationsPath, key: marker},
		"as a basic token":     {method: "GET", path: organizationsPath, header: map[string]string{"Authorization": "Basic " + marker}},
		"in the query":         {method: "GET", path: organizationsPath + "?cursor=" + marker, key: bootstrapKey},
		"in an unknown path":   {method: "GET", path: "/" + marker},
		"as an id":             {method: "GET", path: endpointsPath + "/" + marker, key: bootstrapKey},
		"as a request id":      {method: "GET", path: "/", header: map[string]string{"X-Request-Id": marker}},
		"in a cookie":          {method: "GET", path: "/", header: map[string]string{"Cookie": "session=" + marker}},
		"in broken JSON":       {method: "POST", path: endpointsPath, key: bootstrapKey, body: `{"secret_key":"` + marker},
		"of the wrong type":    {method: "POST", path: endpointsPath, key: bootstrapKey, body: `{"secret_key":["` + marker + `"]}`},
		"beside an unknown":    {method: "POST", path: endpointsPath, key: bootstrapKey, body: endpointBody(`,"x":1`)},
		"beside a bad value":   {method: "POST", path: endpointsPath, key: bootstrapKey, body: endpointBody(`,"timeout_seconds":99`)},
		"too long":             {method: "POST", path: endpointsPath, key: bootstrapKey, body: strings.Replace(endpointBody(""), marker+`"}`, strings.Repeat(marker, 9)+`"}`, 1)},
		"given and asked for":  {method: "POST", path: endpointsPath, key: bootstrapKey, body: endpointBody(`,"generate_secret":true`)},
		"in a URL's user info": {method: "POST", path: endpointsPath, key: bootstrapKey, body: `{"url":"http://u:` + marker + `@127.0.0.1/","events":["*"],"name":"CRM"}`},
		"in a URL's port":      {method: "POST", path: endpointsPath, key: bootstrapKey, body: `{"url":"http://127.0.0.1:` + marker + `/","events":["*"],"name":"CRM"}`},
	}
	for name, c := range calls {
		if got := a.do(t, c); strings.Contains(got.body, marker) || got.status < 400 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	created := a.post(t, endpointsPath, strings.Replace(endpointBody(""), "?token="+marker, "", 1))
	created.json(t, 201)
	for _, got := range []answer{created, a.get(t, created.header.Get("Location")), a.get(t, endpointsPath)} {
		if strings.Contains(got.body, marker) {
			t.Errorf("a stored secret is shown: %s", got.body)
		}
	}
	if logs := a.logs.String(); strings.Contains(logs, marker) || strings.Contains(logs, bootstrapKey) || strings.Count(logs, "\n") < len(calls) {
		t.Errorf("logs: %s", logs)
	}
}
