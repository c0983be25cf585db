package httpapi

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// counted writes what dispatchers would have counted of an endpoint in the last minutes.
func (a *api) counted(t *testing.T, id string) {
	t.Helper()
	a.change(t, `INSERT INTO sonicus.delivery_stats (endpoint_id, starts_at, minutes, status, failure_reason, deliveries, attempts, possible_duplicates, response_times)
		SELECT e.id, date_bin('5 minutes', now() - n * interval '1 minute', 'epoch'), 5, r.*
		FROM unnest(ARRAY['`+id+`', '00000000-0000-0000-0000-000000000000']::uuid[]) e (id), generate_series(0, 10, 10) n,
		     (VALUES ('sent', '', 40, 40, 1, ('{' || repeat('0,', 20) || '40}')::integer[]), ('retrying', '', 8, 8, 0, '{}'), ('failed', 'exhausted', 2, 2, 0, '{}'),
		             ('failed', 'endpoint_deleted', 3, 0, 0, '{}')) r`)
}

func TestStatsAreShown(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, _ := a.register(t, "")
	id := strings.TrimPrefix(path, endpointsPath+"/")
	a.post(t, organizationsPath, `{"name":"A","domain":"a.example.com","primary_contact_email":"a@example.com"}`).json(t, 201)
	a.counted(t, id)
	for query, wanted := range map[string]struct {
		window   string
		endpoint any
	}{"": {"24h", nil}, "?window=1h": {"1h", nil}, "?window=7d&endpoint_id=" + id: {"7d", id}} {
		got := a.get(t, statsPath+query).json(t, 200)
		due, waits := got["oldest_due_seconds"].(float64)
		if !waits || due < 0 || due > 300 {
			t.Errorf("%s: oldest due since %v", query, got["oldest_due_seconds"])
		}
		want := map[string]any{
			"window": wanted.window, "from": got["from"], "until": got["until"], "endpoint_id": wanted.endpoint,
			"sent": 80.0, "failed": 10.0, "failed_by_reason": map[string]any{"exhausted": 4.0, "endpoint_deleted": 6.0}, "retrying": 16.0, "attempts": 100.0,
			"possible_duplicates": 2.0, "success_rate": 0.8, "response_time_ms": map[string]any{"p50": 3.5, "p95": 3.5, "p99": 3.5},
			"backlog": 1.0, "backlog_is_more": false, "oldest_due_seconds": got["oldest_due_seconds"],
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

func TestStatsOfNothingAreZeros(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, query := range []string{"", "?endpoint_id=6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11"} {
		got := a.get(t, statsPath+query).json(t, 200)
		for field, want := range map[string]any{"attempts": 0.0, "success_rate": nil, "backlog": 0.0, "oldest_due_seconds": nil, "endpoint_id": got["endpoint_id"]} {
			if got[field] != want {
				t.Errorf("%s: %s is %v", query, field, got[field])
			}
		}
		if diff := cmp.Diff(map[string]any{"p50": nil, "p95": nil, "p99": nil}, got["response_time_ms"]); diff != "" {
			t.Error(diff)
		}
	}
}

func TestStatsAreListedByEndpoint(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	first, _ := a.register(t, "")
	second, _ := a.register(t, "")
	deleted, _ := a.register(t, "")
	a.remove(t, deleted)
	a.counted(t, strings.TrimPrefix(first, endpointsPath+"/"))
	page := a.get(t, statsPath+"/endpoints?window=1h&limit=1").json(t, 200)
	next := a.get(t, statsPath+"/endpoints?window=1h&limit=1&cursor="+page["next_cursor"].(string)).json(t, 200)
	for path, p := range map[string]struct {
		page map[string]any
		sent float64
	}{second: {page, 0}, first: {next, 80}} {
		rows := p.page["data"].([]any)
		if len(rows) != 1 || rows[0].(map[string]any)["endpoint_id"] != strings.TrimPrefix(path, endpointsPath+"/") || rows[0].(map[string]any)["sent"] != p.sent {
			t.Errorf("%s: %v", path, rows)
		}
	}
	if next["has_more"] != false {
		t.Errorf("got %v", next)
	}
}

func TestStatsReadTheirQueryStrictly(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for query, want := range map[string]string{
		"?window=2h": "invalid_value", "?window=": "invalid_value", "?endpoint_id=x": "invalid_uuid", "?endpoint_id=" + uuid.Nil.String(): "invalid_uuid", "?windows=1h": "unknown_parameter",
		"?window=1h&window=1h": "duplicate_parameter", "?limit=1": "unknown_parameter", "/endpoints?endpoint_id=x": "unknown_parameter",
	} {
		a.get(t, statsPath+query).problem(t, 422, want)
	}
}
