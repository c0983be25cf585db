package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
)

// matrix is the least role for every route, written down once more: a route
// that is not here fails the test.
var matrix = map[string]access.Role{
	"POST /api/v1/organizations":                        access.Admin,
	"POST /api/v1/organizations/":                       access.Admin,
	"POST /api/v1/super-admin/organizations":            access.SuperAdmin,
	"POST /api/v1/super-admin/organizations/":           access.SuperAdmin,
	"POST /api/v1/organization-crud/organizations":      access.Admin,
	"POST /api/v1/organization-crud/organizations/":     access.Admin,
	"GET /api/v1/organizations":                         access.Viewer,
	"HEAD /api/v1/organizations":                        access.Viewer,
	"GET /api/v1/organizations/":                        access.Viewer,
	"HEAD /api/v1/organizations/":                       access.Viewer,
	"GET /api/v1/organizations/:id":                     access.Viewer,
	"HEAD /api/v1/organizations/:id":                    access.Viewer,
	"PATCH /api/v1/organizations/:id":                   access.Admin,
	"DELETE /api/v1/organizations/:id":                  access.SuperAdmin,
	"PATCH /api/v1/organizations/:id/subscription":      access.Admin,
	"POST /api/v1/organizations/:id/users":              access.Admin,
	"GET /api/v1/organizations/:id/users":               access.Viewer,
	"HEAD /api/v1/organizations/:id/users":              access.Viewer,
	"GET /api/v1/organizations/:id/users/:user_id":      access.Viewer,
	"HEAD /api/v1/organizations/:id/users/:user_id":     access.Viewer,
	"PATCH /api/v1/organizations/:id/users/:user_id":    access.Admin,
	"DELETE /api/v1/organizations/:id/users/:user_id":   access.Admin,
	"GET /api/v1/webhooks/events":                       access.Viewer,
	"HEAD /api/v1/webhooks/events":                      access.Viewer,
	"GET /api/v1/webhooks/events/:id":                   access.Viewer,
	"HEAD /api/v1/webhooks/events/:id":                  access.Viewer,
	"POST /api/v1/webhooks/endpoints":                   access.SuperAdmin,
	"GET /api/v1/webhooks/endpoints":                    access.Viewer,
	"HEAD /api/v1/webhooks/endpoints":                   access.Viewer,
	"GET /api/v1/webhooks/endpoints/:id":                access.Viewer,
	"HEAD /api/v1/webhooks/endpoints/:id":               access.Viewer,
	"PATCH /api/v1/webhooks/endpoints/:id":              access.SuperAdmin,
	"DELETE /api/v1/webhooks/endpoints/:id":             access.SuperAdmin,
	"POST /api/v1/webhooks/endpoints/:id/enable":        access.SuperAdmin,
	"POST /api/v1/webhooks/endpoints/:id/disable":       access.SuperAdmin,
	"POST /api/v1/webhooks/endpoints/:id/pause":         access.SuperAdmin,
	"POST /api/v1/webhooks/endpoints/:id/resume":        access.SuperAdmin,
	"POST /api/v1/webhooks/endpoints/:id/rotate-secret": access.SuperAdmin,
	"POST /api/v1/webhooks/endpoints/:id/test":          access.SuperAdmin,
	"POST /api/v1/webhooks/test":                        access.SuperAdmin,
	"GET /api/v1/webhooks/events/:id/explain":           access.Viewer,
	"HEAD /api/v1/webhooks/events/:id/explain":          access.Viewer,
	"GET /api/v1/webhooks/deliveries":                   access.Viewer,
	"HEAD /api/v1/webhooks/deliveries":                  access.Viewer,
	"GET /api/v1/webhooks/deliveries/:id":               access.Viewer,
	"HEAD /api/v1/webhooks/deliveries/:id":              access.Viewer,
	"GET /api/v1/webhooks/deliveries/:id/attempts":      access.Viewer,
	"HEAD /api/v1/webhooks/deliveries/:id/attempts":     access.Viewer,
	"POST /api/v1/webhooks/trigger-test":                access.SuperAdmin,
	"GET /api/v1/webhooks/event-types":                  access.Viewer,
	"HEAD /api/v1/webhooks/event-types":                 access.Viewer,
	"GET /api/v1/webhooks/egress":                       access.Viewer,
	"HEAD /api/v1/webhooks/egress":                      access.Viewer,
	"POST /api/v1/webhooks/deliveries/:id/retry":        access.SuperAdmin,
	"POST /api/v1/webhooks/replays":                     access.SuperAdmin,
	"GET /api/v1/webhooks/replays":                      access.Viewer,
	"HEAD /api/v1/webhooks/replays":                     access.Viewer,
	"GET /api/v1/webhooks/replays/:id":                  access.Viewer,
	"HEAD /api/v1/webhooks/replays/:id":                 access.Viewer,
	"POST /api/v1/webhooks/replays/:id/pause":           access.SuperAdmin,
	"POST /api/v1/webhooks/replays/:id/resume":          access.SuperAdmin,
	"POST /api/v1/webhooks/replays/:id/cancel":          access.SuperAdmin,
	"POST /api/v1/webhooks/deliveries/:id/cancel":       access.SuperAdmin,
	"POST /api/v1/webhooks/filters/test":                access.Viewer,
	"POST /api/v1/api-keys":                             access.SuperAdmin,
	"GET /api/v1/api-keys":                              access.SuperAdmin,
	"HEAD /api/v1/api-keys":                             access.SuperAdmin,
	"GET /api/v1/api-keys/:id":                          access.SuperAdmin,
	"HEAD /api/v1/api-keys/:id":                         access.SuperAdmin,
	"DELETE /api/v1/api-keys/:id":                       access.SuperAdmin,
	"GET /api/v1/webhooks/stats":                        access.Viewer,
	"HEAD /api/v1/webhooks/stats":                       access.Viewer,
	"GET /api/v1/webhooks/stats/endpoints":              access.Viewer,
	"HEAD /api/v1/webhooks/stats/endpoints":             access.Viewer,
	"GET /api/v1/audit-log":                             access.SuperAdmin,
	"HEAD /api/v1/audit-log":                            access.SuperAdmin,
}

func TestEveryRouteRefusesWhoeverMayNot(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	callers := a.callers(t)
	mounted := map[string]bool{}
	for _, r := range a.echo.Routes() {
		if isDocument(r.Path) {
			continue // for everyone
		}
		name := r.Method + " " + r.Path
		mounted[name] = true
		required, known := matrix[name]
		if !known {
			t.Errorf("%s has no row in the matrix", name)
			continue
		}
		for caller, c := range callers {
			t.Run(name+" as "+caller, func(t *testing.T) {
				t.Parallel()
				got := a.do(t, call{method: r.Method, path: strings.Replace(r.Path, ":id", uuid.NewString(), 1), key: c.key, body: bodyFor(r.Method)})
				if want := expected(r.Method, r.Path, c.role, required); got.status != want {
					t.Errorf("got %d, want %d: %s", got.status, want, got.body)
				}
			})
		}
	}
	for name := range matrix {
		if !mounted[name] {
			t.Errorf("%s is in the matrix but not mounted", name)
		}
	}
}

func TestNoRouteLetsAViewerWrite(t *testing.T) {
	t.Parallel()
	for _, r := range new(Server).routes() {
		if r.method != http.MethodGet && r.path != filterTestPath && access.Viewer.Allows(r.role) {
			t.Errorf("%s %s", r.method, r.path)
		}
	}
}

type caller struct {
	key  string
	role access.Role // empty: nobody
}

func (a *api) callers(t *testing.T) map[string]caller {
	t.Helper()
	all := map[string]caller{
		"nobody":      {"", ""},
		"malformed":   {"snk", ""},
		"unknown":     {"snk_" + strings.Repeat("A", 43), ""},
		"expired":     {a.createKey(t, "expired", access.SuperAdmin), ""},
		"revoked":     {a.createKey(t, "revoked", access.SuperAdmin), ""},
		"viewer":      {a.createKey(t, "viewer", access.Viewer), access.Viewer},
		"admin":       {a.createKey(t, "admin", access.Admin), access.Admin},
		"super admin": {a.createKey(t, "super", access.SuperAdmin), access.SuperAdmin},
		"bootstrap":   {bootstrapKey, access.SuperAdmin},
	}
	a.change(t, `UPDATE sonicus.api_keys SET expires_at = now() - interval '1 second' WHERE name = 'expired'`)
	a.change(t, `UPDATE sonicus.api_keys SET revoked_at = now() WHERE name = 'revoked'`)
	return all
}

// bodyFor is a body that a POST to a collection refuses, so that being let in is told
// by 422, and that changes nothing of what exists.
func bodyFor(method string) string {
	if method == http.MethodPost || method == http.MethodPatch {
		return "{}"
	}
	return ""
}

func expected(method, path string, held, required access.Role) int {
	switch {
	case held == "":
		return http.StatusUnauthorized
	case !held.Allows(required):
		return http.StatusForbidden
	case path == usersPath && method == http.MethodPost: // the body is looked at first
		return http.StatusUnprocessableEntity
	case strings.Contains(path, ":id"):
		return http.StatusNotFound
	case path == triggerPath: // takes no body
		return http.StatusAccepted
	case method == http.MethodPost:
		return http.StatusUnprocessableEntity
	default:
		return http.StatusOK
	}
}

func TestBadCredentialsCannotBeToldApart(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	callers := a.callers(t)
	good := "Bearer " + callers["admin"].key
	headers := map[string]string{
		"absent": "", "no scheme": callers["admin"].key, "other scheme": "Basic " + callers["admin"].key, "no token": "Bearer",
		"malformed": "Bearer snk_%%%", "two tokens": good + " x", "joined": good + ", " + good, "unknown": "Bearer " + callers["unknown"].key,
		"expired": "Bearer " + callers["expired"].key, "revoked": "Bearer " + callers["revoked"].key, "tab": strings.Replace(good, " ", "\t", 1),
	}
	const id = "6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11"
	want := `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"A valid bearer token is required.",` +
		`"code":"unauthenticated","errors":[],"request_id":"` + id + `"}` + "\n"
	paths := []string{"/api/v1/organizations", "/api/v1/organizations/" + uuid.NewString(), "/api/v1/nothing", "/api/v1", "/api/v1/"}
	for name, header := range headers {
		for _, path := range paths {
			got := a.do(t, call{method: "GET", path: path, header: map[string]string{"Authorization": header, "X-Request-Id": id}})
			if got.status != 401 || got.body != want || got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s at %s: %d %v %s", name, path, got.status, got.header, got.body)
			}
		}
	}
	if got := a.do(t, call{method: "GET", path: "/api/v1/organizations", header: map[string]string{"Authorization": "bEARER  " + callers["admin"].key}}); got.status != 200 {
		t.Errorf("the scheme's case and a second space matter: %d", got.status)
	}
}

func TestCredentialsAreAskedForBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for name, body := range map[string]string{"not JSON": "{", "too large": strings.Repeat(" ", maxBody+1)} {
		got := a.do(t, call{method: "POST", path: "/api/v1/organizations", body: body})
		if got.status != 401 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	got := a.do(t, call{method: "POST", path: "/api/v1/webhooks/endpoints", key: a.createKey(t, "admin", access.Admin), body: "{"})
	got.problem(t, 403, "forbidden")
}

func TestSeveralAuthorizationHeadersAreNone(t *testing.T) {
	t.Parallel()
	h := http.Header{"Authorization": {"Bearer " + bootstrapKey, "Bearer " + bootstrapKey}}
	if got := bearer(h); got != "" {
		t.Errorf("took %q", got)
	}
}

func TestEncodedPathsReachNoRouteUnasked(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, path := range []string{"/api%2Fv1/organizations", "/%61pi/v1/organizations", "//api/v1/organizations", "/API/v1/organizations", "/x/../api/v1/organizations", "/api/v1/organizations%00"} {
		if got := a.do(t, call{method: "GET", path: path}); got.status != 401 && got.status != 404 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestWhatFollowsAnIDIsNotFound(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, collection := range []string{organizationsPath, endpointsPath, deliveriesPath, keysPath} {
		for _, given := range []string{"a/b", "6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11/"} { // no ids, but paths
			a.get(t, collection+"/"+given).problem(t, 404, "not_found")
		}
	}
}
