package e2e_test

import (
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// document is a service after what the source document tells of has happened.
type document struct {
	svc        *service
	dispatcher *process

	tablesBefore int
	asked, made  map[string]any // the documented registration, and its answer
	logFile      string

	signed, unsigned, flaky, failing, stubborn, paused *heard
	trap                                               *receiver // named by WEBHOOK_URL, and nowhere else

	organizations map[string]map[string]any // as answered, by the route that made them
}

// heard is an endpoint and its receiver.
type heard struct {
	*receiver
	id string
}

var createRoutes = map[string]string{ // and the least role
	"/api/v1/organizations/":                   "admin",
	"/api/v1/super-admin/organizations/":       "super_admin",
	"/api/v1/organization-crud/organizations/": "admin",
}

func always(status int) func(int, *http.Request) int {
	return func(int, *http.Request) int { return status }
}

// readDocument lets it all happen once. Afterwards everything is at rest.
func readDocument(t *testing.T) *document {
	t.Helper()
	d := &document{trap: newReceiver(t, nil), logFile: filepath.Join(t.TempDir(), "sonicus.log"), organizations: map[string]map[string]any{}}
	d.svc = empty(t, quick(settings{
		"WEBHOOK_URL": d.trap.URL, "SONICUS_LOG_FILE": d.logFile, "SONICUS_LOG_LEVEL": "debug",
		"SONICUS_JWT_ALG": "HS256", "SONICUS_JWT_SECRET": tokenSecret, "SONICUS_JWT_AUDIENCE": "sonicus",
	}))
	d.tablesBefore = d.svc.count(`pg_class WHERE relnamespace = to_regnamespace('sonicus') AND relname LIKE 'webhook_%'`)
	d.svc.startAPI()
	d.dispatcher = d.svc.dispatcher()
	d.register(t)
	d.createOrganizations(t)
	eventually(t, "all but the paused and the stubborn to end", func() bool {
		return d.svc.count(`sonicus.queue WHERE endpoint_id NOT IN ($1, $2)`, d.paused.id, d.stubborn.id) == 0 && len(d.stubborn.got()) >= len(createRoutes)
	})
	d.svc.on(t).manage(http.StatusOK, http.MethodPost, d.stubborn.id+"/pause", nil) // what is retrying stays so
	return d
}

func (d *document) register(t *testing.T) {
	t.Helper()
	signed := newReceiver(t, always(http.StatusOK))
	signed.header = func(_ int, h http.Header) { h.Set("Content-Type", "text/plain") }
	d.asked = map[string]any{
		"url": signed.URL + "/webhook/9f1c1b6e-0f57-4c53-9d3c?source=sonicus", "events": []any{"organization.created"}, "name": "Primary CRM Integration",
		"description": "Sends organization data to our CRM system", "organization_id": nil, "secret_key": secretKey, "timeout_seconds": 10.0, "max_retries": 3.0,
	}
	d.made = d.svc.create("/api/v1/webhooks/endpoints", d.asked)
	d.signed = &heard{signed, d.made["id"].(string)}
	add := func(answer func(int, *http.Request) int, more map[string]any) *heard {
		r := newReceiver(t, answer)
		return &heard{r, d.svc.endpoint(r.URL, more)}
	}
	d.unsigned = add(nil, map[string]any{"secret_key": nil})
	d.flaky = add(func(_ int, r *http.Request) int {
		if r.Header.Get("X-Sonicus-Attempt") < "3" {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	}, map[string]any{"max_retries": 5})
	d.failing = add(always(http.StatusBadGateway), map[string]any{"max_retries": 1, "breaker_failures": 0})
	d.stubborn = add(always(http.StatusBadGateway), map[string]any{"max_retries": 50, "breaker_failures": 2})
	d.paused = add(nil, nil)
	d.svc.manage(http.StatusOK, http.MethodPost, d.paused.id+"/pause", nil)
}

func (d *document) createOrganizations(t *testing.T) {
	t.Helper()
	for _, route := range slices.Sorted(maps.Keys(createRoutes)) {
		answer := d.createBy(t, route, jwtFor("ada", createRoutes[route]), nil)
		if inner, onboarded := answer["organization"].(map[string]any); onboarded {
			answer = inner
		}
		d.organizations[route] = answer
	}
}

// createBy creates an organization by one of the three routes, as this caller.
func (d *document) createBy(t *testing.T, route, token string, endpoints []map[string]any) map[string]any {
	t.Helper()
	body := newOrganization("d" + uuid.NewString()[:8] + ".example")
	if strings.Contains(route, "crud") {
		body["admin_user"] = map[string]any{"email": "ada@example.com", "full_name": "Ada Lovelace"}
		body["webhook_endpoints"] = endpoints
	}
	status, answer := d.svc.on(t).as(token, http.MethodPost, route, body)
	if status != http.StatusCreated {
		t.Fatalf("%s: %d %v", route, status, answer)
	}
	return answer
}

// onboard makes an organization with endpoints of its own, as receivers of all
// that happens to it and of nothing else.
func (d *document) onboard(t *testing.T, endpoints ...map[string]any) (id string) {
	t.Helper()
	answer := d.createBy(t, "/api/v1/organization-crud/organizations/", d.svc.token, endpoints)
	return answer["organization"].(map[string]any)["id"].(string)
}

// own is an endpoint of an organization to come.
func own(r *receiver, more map[string]any) map[string]any {
	e := map[string]any{"url": r.URL, "events": []string{"*"}, "name": "own", "secret_key": secretKey}
	maps.Copy(e, more)
	return e
}

// row is one row, its texts as strings.
func (d *document) row(t *testing.T, query string, args ...any) map[string]any {
	t.Helper()
	found := map[string]any{}
	rows, err := d.svc.db.Queryx(query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		t.Fatalf("no row: %s", query)
	}
	if err := rows.MapScan(found); err != nil {
		t.Fatal(err)
	}
	for name, value := range found {
		if text, ok := value.([]byte); ok {
			found[name] = string(text)
		}
	}
	return found
}

// delivery is that of the organization which the plain route made, to an endpoint.
func (d *document) delivery(t *testing.T, to *heard) map[string]any {
	t.Helper()
	return d.row(t, `SELECT * FROM sonicus.webhook_deliveries d WHERE d.endpoint_id = $1 AND d.payload #>> '{data,organization,id}' = $2`,
		to.id, d.organizations["/api/v1/organizations/"]["id"])
}

// arrived is the request which told a receiver of the organization that the plain route made.
func (d *document) arrived(t *testing.T, at *heard) arrival {
	t.Helper()
	id, _ := d.organizations["/api/v1/organizations/"]["id"].(string)
	for _, a := range at.got() {
		if decode(t, a.body).Data.Organization.ID == id {
			return a
		}
	}
	t.Fatal("it did not arrive")
	return arrival{}
}

// with is the same service with one more setting.
func (s *service) with(t *testing.T, name, value string) *service {
	t.Helper()
	other := *s
	other.t = t
	other.env = append(slices.DeleteFunc(slices.Clone(s.env), func(e string) bool { return strings.HasPrefix(e, name+"=") }), name+"="+value)
	return &other
}
