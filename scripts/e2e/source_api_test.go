package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// on is the same service for a test of its own.
func (s *service) on(t *testing.T) *service {
	t.Helper()
	other := *s
	other.t = t
	return &other
}

// expects makes a request with a token, nil or another body, and checks the status.
func (s *service) expects(want int, token, method, path string, body any) map[string]any {
	s.t.Helper()
	status, answer := s.as(token, method, path, body)
	if status != want {
		s.t.Errorf("%s %s: %d %v, want %d", method, path, status, answer, want)
	}
	return answer
}

const webhooksPath = "/api/v1/webhooks/"

func storedAndManaged(t *testing.T, d *document) {
	svc := d.svc.on(t)
	shown := svc.manage(http.StatusOK, http.MethodGet, d.signed.id, nil)
	row := d.row(t, `SELECT * FROM sonicus.webhook_endpoints WHERE id = $1`, d.signed.id)
	if shown["url"] != d.asked["url"] || row["url"] != d.asked["url"] || shown["name"] != row["name"] {
		t.Errorf("shown %v, stored %v", shown, row)
	}
	id := svc.endpoint(d.unsigned.URL, map[string]any{"events": []string{"webhook.*"}})
	svc.manage(http.StatusOK, http.MethodPatch, id, map[string]any{"name": "Renamed"})
	if n := svc.count(`sonicus.webhook_endpoints WHERE id = $1 AND name = 'Renamed'`, id); n != 1 {
		t.Error("a change is not stored")
	}
	svc.manage(http.StatusNoContent, http.MethodDelete, id, nil)
	if n := svc.count(`sonicus.webhook_endpoints WHERE id = $1`, id); n != 0 {
		t.Error("a deleted endpoint is still there")
	}
}

func managementIsWhole(t *testing.T, d *document) {
	svc := d.svc.on(t)
	for _, part := range []string{ // register, manage, test
		"POST /api/v1/webhooks/endpoints", "GET /api/v1/webhooks/endpoints", "GET /api/v1/webhooks/endpoints/{id}", "PATCH /api/v1/webhooks/endpoints/{id}",
		"DELETE /api/v1/webhooks/endpoints/{id}", "POST /api/v1/webhooks/test", "POST /api/v1/webhooks/trigger-test",
	} {
		if _, all := describedBy(t, svc); !slices.ContainsFunc(all, func(o operation) bool { return o.String() == part }) {
			t.Errorf("there is no %s", part)
		}
	}
	answer := svc.expects(http.StatusUnprocessableEntity, svc.token, http.MethodPost, webhooksPath+"endpoints", map[string]any{"url": "ftp://x", "events": []string{"no.such"}, "name": ""})
	if wrong, _ := answer["errors"].([]any); len(wrong) != 3 {
		t.Errorf("validated: %v", answer)
	}
}

// managementIsGuarded: nothing below /webhooks/ can be written but by a super admin.
func managementIsGuarded(t *testing.T, d *document) {
	svc := d.svc.on(t)
	_, all := describedBy(t, svc)
	tried := 0
	for _, o := range all {
		if !strings.HasPrefix(o.path, webhooksPath) || o.method == http.MethodGet || o.path == webhooksPath+"filters/test" { // which writes nothing
			continue
		}
		tried++
		path := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(o.path, d.signed.id)
		svc.expects(http.StatusUnauthorized, "none", o.method, path, nil)
		for _, role := range []string{"viewer", "admin"} {
			svc.expects(http.StatusForbidden, jwtFor("eve", role), o.method, path, nil)
		}
	}
	if tried < 10 {
		t.Errorf("only %d operations tried", tried)
	}
}

func registers(t *testing.T, d *document) {
	if id, _ := d.made["id"].(string); uuid.Validate(id) != nil {
		t.Errorf("answered %v", d.made)
	}
}

func bearerIsNeeded(t *testing.T, d *document) {
	svc := d.svc.on(t)
	body := map[string]any{"url": d.unsigned.URL, "events": []string{"webhook.*"}, "name": "A"}
	svc.expects(http.StatusUnauthorized, "not a token", http.MethodPost, webhooksPath+"endpoints", body)
	svc.expects(http.StatusCreated, jwtFor("ada", "super_admin"), http.MethodPost, webhooksPath+"endpoints", body)
}

// takenAs: a field of the registration is stored and shown under its name.
func takenAs(field string) func(*testing.T, *document) {
	return func(t *testing.T, d *document) {
		shown := d.svc.on(t).manage(http.StatusOK, http.MethodGet, d.signed.id, nil)
		if diff := cmp.Diff(d.asked[field], shown[field]); diff != "" {
			t.Errorf("(-asked +shown)\n%s", diff)
		}
		d.svc.on(t).expects(http.StatusUnprocessableEntity, d.svc.token, http.MethodPost, webhooksPath+"endpoints", map[string]any{
			"url": d.unsigned.URL, "events": []string{"*"}, "name": "A", field: map[string]any{},
		})
	}
}

func organizationMayBeNull(t *testing.T, d *document) {
	svc := d.svc.on(t)
	if shown := svc.manage(http.StatusOK, http.MethodGet, d.signed.id, nil); shown["organization_id"] != nil {
		t.Errorf("shown %v", shown)
	}
	of := d.organizations["/api/v1/organizations/"]["id"]
	id := svc.endpoint(d.unsigned.URL, map[string]any{"organization_id": of})
	if shown := svc.manage(http.StatusOK, http.MethodGet, id, nil); shown["organization_id"] != of {
		t.Errorf("shown %v", shown)
	}
}

func secretIsOptional(t *testing.T, d *document) {
	svc := d.svc.on(t)
	if with := svc.manage(http.StatusOK, http.MethodGet, d.signed.id, nil); with["secret_set"] != true {
		t.Errorf("with: %v", with)
	}
	if without := svc.manage(http.StatusOK, http.MethodGet, d.unsigned.id, nil); without["secret_set"] != false {
		t.Errorf("without: %v", without)
	}
}

func registrationIsAnswered(t *testing.T, d *document) {
	if d.made["url"] != d.asked["url"] || d.made["message"] != "Webhook endpoint created successfully" || d.made["id"] != d.signed.id {
		t.Errorf("answered %v", d.made)
	}
}

func managementIsBelowItsPath(t *testing.T, d *document) {
	_, all := describedBy(t, d.svc.on(t))
	for _, o := range all {
		if slices.Contains(o.Tags, "webhooks") != strings.HasPrefix(o.path, webhooksPath) {
			t.Errorf("%s has the tags %v", o, o.Tags)
		}
	}
}

// createsAs: a route has made an organization for its role, and makes none for the role below.
func createsAs(route, less string) func(*testing.T, *document) {
	return func(t *testing.T, d *document) {
		made := d.organizations[route]
		if id, _ := made["id"].(string); uuid.Validate(id) != nil {
			t.Errorf("answered %v", made)
		}
		d.svc.on(t).expects(http.StatusForbidden, jwtFor("eve", less), http.MethodPost, route, newOrganization("forbidden.example"))
		d.svc.on(t).expects(http.StatusForbidden, jwtFor("eve", less), http.MethodPost, strings.TrimSuffix(route, "/"), newOrganization("forbidden.example"))
	}
}

// text gets a path without a key.
func (s *service) text(path string) (status int, header http.Header, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.base+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func docsAreServed(t *testing.T, d *document) {
	status, header, body := d.svc.on(t).text("/docs")
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || !strings.Contains(body, "swagger-ui") {
		t.Errorf("%d %v %s", status, header, body)
	}
}

func sectionExists(t *testing.T, d *document) {
	doc, _ := describedBy(t, d.svc.on(t))
	if doc.Tags.Get("webhooks") == nil {
		t.Errorf("tags: %v", doc.Tags)
	}
}

func testRoutesAreDescribed(t *testing.T, d *document) {
	_, all := describedBy(t, d.svc.on(t))
	for _, path := range []string{webhooksPath + "test", webhooksPath + "trigger-test"} {
		i := slices.IndexFunc(all, func(o operation) bool { return o.path == path && o.method == http.MethodPost })
		if i < 0 || !slices.Contains(all[i].Tags, "webhooks") {
			t.Errorf("%s is not there", path)
		}
	}
}

// program is the file of a package, or of the documentation.
func program(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func defaultAddress(t *testing.T, d *document) {
	svc := d.svc.with(t, "SONICUS_HTTP_ADDR", "")
	if _, stdout, stderr := svc.run("api", "config"); !regexp.MustCompile(`SONICUS_HTTP_ADDR +127\.0\.0\.1:18100 +default`).MatchString(stdout) {
		t.Errorf("%s%s", stdout, stderr)
	}
}

func examplePort(t *testing.T, d *document) {
	if !strings.Contains(blocks(t, "go")[0], `ListenAndServe(":3001"`) {
		t.Error("the receiver of the README listens elsewhere")
	}
	d.svc.on(t).endpoint("http://127.0.0.1:3001/webhook", map[string]any{"events": []string{"webhook.*"}})
}

func httpsInProduction(t *testing.T, d *document) {
	svc := d.svc.with(t, "SONICUS_ENV", "production")
	svc.startAPI()
	answer := svc.expects(http.StatusUnprocessableEntity, svc.token, http.MethodPost, webhooksPath+"endpoints", map[string]any{"url": d.signed.URL, "events": []string{"*"}, "name": "A"})
	if answer["code"] != "https_required" {
		t.Errorf("answered %v", answer)
	}
	svc.expects(http.StatusCreated, svc.token, http.MethodPost, webhooksPath+"endpoints", map[string]any{
		"url": strings.Replace(d.signed.URL, "http://", "https://", 1), "events": []string{"webhook.*"}, "name": "A",
	})
}

func addressesAreTold(t *testing.T, d *document) {
	svc := d.svc.with(t, "SONICUS_EGRESS_ADVERTISED_IPS", "198.51.100.7,2001:db8::7")
	svc.startAPI()
	if answer := svc.expects(http.StatusOK, svc.token, http.MethodGet, webhooksPath+"egress", nil); fmt.Sprint(answer["ip_addresses"]) != "[198.51.100.7 2001:db8::7]" {
		t.Errorf("answered %v", answer)
	}
}

func packagesExist(t *testing.T, _ *document) {
	for _, room := range []string{"webhook", "organization", "access", "endpoint", "httpapi", "outbox"} {
		if files, err := os.ReadDir("../../pkg/" + room); err != nil || len(files) == 0 {
			t.Errorf("pkg/%s: %v", room, err)
		}
	}
}

func troubleshootingIsWritten(t *testing.T, _ *document) {
	_, section, _ := strings.Cut(program(t, "README.md"), "## Troubleshooting")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, symptom := range []string{"**No webhook comes.**", "**`timeout`.**", "**The payload is not understood.**"} {
		if !strings.Contains(section, symptom) {
			t.Errorf("%s is not in the README", symptom)
		}
	}
}
