package httpapi

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/access"
)

func TestTrailIsShownToSuperAdmins(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	boss := a.createKey(t, "boss", access.SuperAdmin)
	made := a.do(t, call{method: "POST", path: keysPath, key: boss, body: `{"name":"crm","role":"viewer"}`})
	a.do(t, call{method: "DELETE", path: made.header.Get("Location"), key: boss})
	got := a.do(t, call{method: "GET", path: trailPath + "?actor=boss&action=api_key.create", key: boss})
	var page struct{ Data []json.RawMessage }
	if err := json.Unmarshal([]byte(got.body), &page); err != nil || got.status != 200 || len(page.Data) != 1 {
		t.Fatalf("%v: %d %s", err, got.status, got.body)
	}
	keys := []string{"id", "at", "actor", "api_key_id", "action", "object_type", "object_id", "request_id", "before", "after"}
	if diff := cmp.Diff(keys, keysOf(t, string(page.Data[0]))); diff != "" {
		t.Error(diff)
	}
	var entry map[string]any
	if err := json.Unmarshal(page.Data[0], &entry); err != nil {
		t.Fatal(err)
	}
	if at, ok := entry["at"].(string); !ok || !timestamp.MatchString(at) || entry["request_id"] != made.header.Get("X-Request-Id") ||
		entry["object_id"] != made.json(t, 201)["id"] || entry["before"] != nil || entry["after"].(map[string]any)["name"] != "crm" {
		t.Errorf("got %v", entry)
	}
	if p := a.get(t, trailPath+"?until="+url.QueryEscape(entry["at"].(string))).json(t, 200); len(p["data"].([]any)) != 1 { // that of boss itself
		t.Errorf("got %v", p)
	}
}

func TestTrailPagesKeepTheirFilter(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	boss := a.createKey(t, "boss", access.SuperAdmin)
	for range 3 {
		a.do(t, call{method: "POST", path: keysPath, key: boss, body: `{"name":"crm","role":"viewer"}`})
		a.createKey(t, "other", access.Viewer)
	}
	n := 0
	for query, more := "", true; more; {
		p := a.get(t, trailPath+"?limit=2&actor=boss"+query).json(t, 200)
		n += len(p["data"].([]any))
		more = p["has_more"].(bool)
		next, _ := p["next_cursor"].(string)
		query = "&cursor=" + next
	}
	if n != 3 {
		t.Errorf("%d entries on all pages", n)
	}
}

func TestTrailFiltersAreReadStrictly(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for name, tt := range map[string]struct{ query, code, fields string }{
		"all of them":       {"actor=a&action=b&object_type=c&object_id=d&since=2025-01-01T00:00:00Z&until=2025-01-01T00:00:00%2B02:00", "", ""},
		"unusual letters":   {"actor=%F0%9F%92%A9%20%26", "", ""},
		"misspelt":          {"actr=boss", "unknown_parameter", "actr"},
		"twice":             {"actor=a&actor=b", "duplicate_parameter", "actor"},
		"empty":             {"action=", "invalid_value", "action"},
		"NUL":               {"object_id=%00", "invalid_value", "object_id"},
		"not UTF-8":         {"object_type=%ff", "invalid_value", "object_type"},
		"no time":           {"since=yesterday", "invalid_timestamp", "since"},
		"plus as a space":   {"until=2025-01-01T00:00:00+02:00", "invalid_timestamp", "until"},
		"cursor of another": {"cursor=" + a.cursors.of("api-keys", [16]byte{6: 0x70}), "invalid_cursor", "cursor"},
		"all at once":       {"limit=0&since=x&actor=&sort=at", "validation_failed", "actor limit since sort"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := a.get(t, trailPath+"?"+tt.query)
			if tt.code == "" {
				got.json(t, 200)
				return
			}
			if d := got.problem(t, 422, tt.code); d.fieldNames() != tt.fields {
				t.Errorf("named %q", d.fieldNames())
			}
		})
	}
}
