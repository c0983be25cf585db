package httpapi

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
)

// organization makes one with a domain of its own, and returns its path.
func (a *api) organization(t *testing.T) string {
	t.Helper()
	made := a.post(t, organizationsPath, fmt.Sprintf(`{"name":"A","domain":"n%s.example.com","primary_contact_email":"a@example.com"}`, uuid.NewString()[:13]))
	made.json(t, 201)
	return made.header.Get("Location")
}

func TestUsersAreAnsweredAsTheyAreStored(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	of := a.organization(t)
	made := a.post(t, of+"/users", `{"email":"Ada@example.com","full_name":"Ada Lovelace"}`)
	shown := made.json(t, 201)
	path := made.header.Get("Location")
	if path != of+"/users/"+shown["id"].(string) || shown["role"] != "member" || shown["email"] != "Ada@example.com" {
		t.Errorf("%s: %s", path, made.body)
	}
	got := a.get(t, path)
	if got.body != made.body || got.header.Get("ETag") != made.header.Get("ETag") {
		t.Errorf("got %s %s, made %s %s", got.header.Get("ETag"), got.body, made.header.Get("ETag"), made.body)
	}
	if list := a.get(t, of+"/users").json(t, 200); len(list["data"].([]any)) != 1 {
		t.Errorf("got %v", list)
	}
	a.remove(t, path)
	a.get(t, path).problem(t, 404, "not_found")
	a.do(t, call{method: "DELETE", path: path, key: bootstrapKey}).problem(t, 404, "not_found")
}

func TestUserIsAddedOnceHoweverOftenItIsSent(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	c := call{method: "POST", path: a.organization(t) + "/users", key: bootstrapKey, body: `{"email":"a@example.com","full_name":"A"}`, header: map[string]string{keyHeader: "once"}}
	first, second := a.do(t, c), a.do(t, c)
	if first.status != 201 || second.body != first.body || second.header.Get("Idempotent-Replayed") != "true" || second.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("%d %s, then %d %s", first.status, first.body, second.status, second.body)
	}
}

func TestETagsOfOrganizationsAndUsersChangeWithThem(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	of := a.organization(t)
	user := a.post(t, of+"/users", `{"email":"a@example.com","full_name":"A"}`).header.Get("Location")
	for path, body := range map[string]string{of: `{"name":"B"}`, user: `{"full_name":"B"}`} {
		seen := map[string]string{"If-Match": a.get(t, path).header.Get("ETag")}
		changed := a.patch(t, path, body, seen)
		changed.json(t, 200)
		a.patch(t, path, body, seen).problem(t, 412, "precondition_failed")
		a.do(t, call{method: "DELETE", path: path, key: bootstrapKey, header: seen}).problem(t, 412, "precondition_failed")
		if again := a.patch(t, path, body, map[string]string{"If-Match": changed.header.Get("ETag")}); again.body != changed.body || again.header.Get("ETag") != changed.header.Get("ETag") {
			t.Errorf("%s: changed by nothing: %s, then %s", path, changed.body, again.body)
		}
	}
}

func TestPatchesOfOrganizationsAreAsStrictAsTheCreation(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	of := a.organization(t)
	user := a.post(t, of+"/users", `{"email":"a@example.com","full_name":"A"}`).header.Get("Location")
	for _, c := range []struct{ path, body, field, code string }{
		{of, `{"name":null}`, "name", "required"},
		{of, `{"domain":"http://x"}`, "domain", "invalid_domain"},
		{of, `{"max_users":5}`, "max_users", "not_patchable"},
		{of, `{"id":"x"}`, "id", "unknown_field"},
		{of + "/subscription", `{"max_users":0}`, "max_users", "out_of_range"},
		{of + "/subscription", `{"subscription_status":"paid"}`, "subscription_status", "invalid_status"},
		{of + "/subscription", `{"name":"B"}`, "name", "unknown_field"},
		{user, `{"email":null}`, "email", "required"},
		{user, `{"email":"x"}`, "email", "invalid_email"},
		{user, `{"role":"owner"}`, "role", "invalid_role"},
		{user, `{"organization_id":"x"}`, "organization_id", "unknown_field"},
	} {
		if d := a.patch(t, c.path, c.body, nil).problem(t, 422, c.code); d.fieldNames() != c.field {
			t.Errorf("%s %s: named %s", c.path, c.body, d.fieldNames())
		}
	}
	if got := a.get(t, of).json(t, 200); got["name"] != "A" || got["created_at"] != got["updated_at"] {
		t.Errorf("changed: %v", got)
	}
}
