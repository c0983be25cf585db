package httpapi

import (
	"fmt"
	"strings"
	"testing"
)

// event makes an organization and returns the id of its event.
func (a *api) event(t *testing.T) string {
	t.Helper()
	a.post(t, organizationsPath, `{"name":"A","domain":"explained.example","primary_contact_email":"a@b.example"}`).json(t, 201)
	var id string
	if err := a.db.GetContext(t.Context(), &id, `SELECT id FROM sonicus.events WHERE organization_id IS NOT NULL ORDER BY id DESC LIMIT 1`); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestExplanationTellsOfThenAndNotOfNow(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	want := map[string]string{}
	add := func(reason, more string, then ...string) {
		path, _ := a.register(t, more)
		for _, action := range then {
			a.post(t, path+action, "").json(t, 200)
		}
		want[strings.TrimPrefix(path, endpointsPath+"/")] = reason
	}
	other := a.post(t, organizationsPath, `{"name":"A","domain":"other.example","primary_contact_email":"a@b.example"}`).json(t, 201)["id"]
	add("", "")
	add("", "", "/pause")
	add("inactive", "", "/disable")
	add("filter", `,"filter":{"data.organization.domain":"x"}`)
	add("organization", fmt.Sprintf(`,"organization_id":"%s"`, other))
	add("event_type", "")
	a.change(t, `UPDATE sonicus.endpoints SET events = '["webhook.*"]' WHERE id = (SELECT max(id::text)::uuid FROM sonicus.endpoints)`)
	add("deleted", "")
	a.change(t, `UPDATE sonicus.endpoints SET deleted_at = now() WHERE id = (SELECT max(id::text)::uuid FROM sonicus.endpoints)`)

	explain := eventsPath + "/" + a.event(t) + "/explain"
	a.change(t, `UPDATE sonicus.endpoints SET is_active = true, events = '["*"]', filter = NULL, filter_clauses = NULL, filter_paths = NULL`)
	add("created_later", "")
	got, cursor := map[string]string{}, ""
	for more := true; more; {
		page := a.get(t, explain+"?limit=3"+cursor).json(t, 200)
		for _, row := range page["data"].([]any) {
			f := row.(map[string]any)
			reason, _ := f["reason"].(string)
			if queued := f["outcome"] == "queued"; queued != (f["delivery_status"] == "pending") || queued != (reason == "") || (reason == "filter") != (f["clause"] == "filter.data.organization.domain") {
				t.Errorf("%v", f)
			}
			got[f["endpoint_id"].(string)] = reason
		}
		more = page["has_more"].(bool)
		cursor = fmt.Sprintf("&cursor=%v", page["next_cursor"])
	}
	for id, reason := range want {
		if found, there := got[id]; !there || found != reason {
			t.Errorf("%s: %q, want %q", id, found, reason)
		}
		if one := a.get(t, explain+"?endpoint_id="+id).json(t, 200)["data"].([]any); len(one) != 1 || one[0].(map[string]any)["endpoint_id"] != id {
			t.Errorf("asked for %s, got %v", id, one)
		}
	}
}
