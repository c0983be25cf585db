package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOrganizationOfEveryRouteReachesEveryMatchingEndpoint(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	svc.dispatcher()
	first, second, other := newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil)
	svc.endpoint(first.URL, nil)
	svc.endpoint(second.URL+"/hook?source=sonicus", map[string]any{"events": []string{"organization.*"}})
	owner := svc.organization("owner.example")
	svc.endpoint(other.URL, map[string]any{"organization_id": owner})

	routes := []string{
		"/api/v1/organizations", "/api/v1/organizations/",
		"/api/v1/super-admin/organizations", "/api/v1/super-admin/organizations/",
		"/api/v1/organization-crud/organizations", "/api/v1/organization-crud/organizations/",
	}
	ids := map[string]bool{owner: true}
	for i, route := range routes {
		body := newOrganization(fmt.Sprintf("route%d.example", i))
		if i >= 4 {
			body["admin_user"] = map[string]any{"email": "ada@example.com", "full_name": "Ada Lovelace"}
			ids[svc.create(route, body)["organization"].(map[string]any)["id"].(string)] = true
		} else {
			ids[svc.create(route, body)["id"].(string)] = true
		}
	}
	svc.drained()
	for name, r := range map[string]*receiver{"first": first, "second": second} {
		got := r.got()
		if len(got) != 7 {
			t.Errorf("%s receiver got %d webhooks, want 7", name, len(got))
		}
		onboarded := 0
		for _, a := range got {
			a.verify(t)
			payload := decode(t, a.body)
			if !ids[payload.Data.Organization.ID] || payload.EventType != "organization.created" || payload.EventID != a.header.Get("webhook-id") {
				t.Errorf("%s receiver got %s", name, a.body)
			}
			if payload.Data.AdminUser.Email == "ada@example.com" {
				onboarded++
			}
		}
		if onboarded != 2 {
			t.Errorf("%s receiver saw the admin user of %d onboardings, want 2", name, onboarded)
		}
	}
	if n := len(other.got()); n != 0 {
		t.Errorf("the endpoint of one organization got %d events of others", n)
	}
	if n := svc.count(`sonicus.webhook_deliveries WHERE status = 'sent' AND http_status_code = 204 AND attempt_count = 1`); n != 14 {
		t.Errorf("%d deliveries sent at the first attempt, want 14", n)
	}
	svc.booksAgree()
}

type payload struct {
	EventType string `json:"event_type"`
	EventID   string `json:"event_id"`
	Timestamp string `json:"timestamp"`
	Data      struct {
		Organization struct {
			ID        string `json:"id"`
			CreatedAt string `json:"created_at"`
		} `json:"organization"`
		AdminUser struct {
			Email string `json:"email"`
		} `json:"admin_user"`
	} `json:"data"`
}

func decode(t *testing.T, body string) payload {
	t.Helper()
	var p payload
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOnboardingEndpointsReceiveTheirOwnOrganization(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	svc.dispatcher()
	r := newReceiver(t, nil)
	body := newOrganization("onboarding.example")
	body["admin_user"] = map[string]any{"email": "ada@onboarding.example", "full_name": "Ada"}
	body["webhook_endpoints"] = []map[string]any{{"url": r.URL, "events": []string{"*"}, "name": "own", "secret_key": secretKey}}
	answer := svc.create("/api/v1/organization-crud/organizations/", body)
	got := r.await(1)[0]
	got.verify(t)
	if id := answer["organization"].(map[string]any)["id"]; decode(t, got.body).Data.Organization.ID != id {
		t.Errorf("got %s, want the event of %v", got.body, id)
	}
	svc.organization("later.example")
	svc.drained()
	if n := len(r.got()); n != 1 {
		t.Errorf("the endpoint of one organization got %d events", n)
	}
}

func TestFlakyReceiverGetsTheSameEventUntilItAccepts(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	svc.dispatcher()
	r := newReceiver(t, func(n int, _ *http.Request) int {
		if n <= 2 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	svc.endpoint(r.URL, map[string]any{"max_retries": 5})
	svc.organization("flaky.example")
	svc.drained()

	got := r.got()
	if len(got) != 3 {
		t.Fatalf("%d requests, want 3", len(got))
	}
	for i, a := range got {
		a.verify(t)
		if a.body != got[0].body || a.header.Get("webhook-id") != got[0].header.Get("webhook-id") {
			t.Errorf("attempt %d has another body or webhook-id", i+1)
		}
		if n := a.header.Get("X-Sonicus-Attempt"); n != strconv.Itoa(i+1) {
			t.Errorf("attempt %d says it is number %s", i+1, n)
		}
		sentAt, err := strconv.ParseInt(a.header.Get("webhook-timestamp"), 10, 64)
		if age := a.at.Sub(time.Unix(sentAt, 0)); err != nil || age < 0 || age > 30*time.Second {
			t.Errorf("attempt %d: webhook-timestamp is %s old (%v)", i+1, age, err)
		}
	}
	for i, wait := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond} {
		if gap := got[i+1].at.Sub(got[i].at); gap < wait {
			t.Errorf("retry %d came after %s, before its %s", i+1, gap, wait)
		}
	}
	if n := svc.count(`sonicus.webhook_deliveries WHERE status = 'sent' AND attempt_count = 3 AND max_attempts = 6 AND http_status_code = 200
		AND error_message IS NULL AND delivered_at >= last_attempt_at`); n != 1 {
		t.Error("the delivery is not shown as sent at the third attempt")
	}
	if n := svc.count(`sonicus.attempts WHERE (number, http_status_code) IN ((1, 500), (2, 500), (3, 200))`); n != 3 {
		t.Errorf("%d of 3 attempts are in the log as they were", n)
	}
	svc.booksAgree()
}

func TestFailingReceiverExhaustsItsAttempts(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	d := svc.dispatcher()
	r := newReceiver(t, func(int, *http.Request) int { return http.StatusServiceUnavailable })
	id := svc.endpoint(r.URL+"/hook?token=hunter2", map[string]any{"max_retries": 3})
	svc.organization("failing.example")
	svc.drained()
	if n := len(r.got()); n != 4 {
		t.Errorf("%d requests, want max_attempts = 4", n)
	}
	if n := svc.count(`sonicus.webhook_deliveries WHERE status = 'failed' AND failure_reason = 'exhausted' AND attempt_count = 4 AND max_attempts = 4
		AND http_status_code = 503 AND error_message IS NOT NULL AND delivered_at IS NULL AND next_attempt_at IS NULL`); n != 1 {
		t.Error("the delivery is not shown as failed and exhausted")
	}
	if n := svc.count(`sonicus.webhook_endpoints WHERE id = $1 AND last_failure_at IS NOT NULL AND last_success_at IS NULL`, id); n != 1 {
		t.Error("the endpoint does not show its failure")
	}
	svc.booksAgree()

	lines := d.records("delivery attempted")
	if len(lines) != 4 {
		t.Fatalf("%d log lines for 4 attempts", len(lines))
	}
	for _, l := range lines {
		if l["level"] != "ERROR" || l["url"] != r.URL+"/hook?…" || l["http_status"] != 503.0 || l["error"] == "" {
			t.Errorf("log line %v", l)
		}
	}
}

func TestGoneDisablesTheEndpointAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	svc.dispatcher()
	r := newReceiver(t, func(int, *http.Request) int { return http.StatusGone })
	id := svc.endpoint(r.URL, nil)
	svc.organization("gone.example")
	eventually(t, "the endpoint to be disabled", func() bool {
		return svc.count(`sonicus.webhook_endpoints WHERE id = $1 AND NOT is_active AND disabled_reason = 'gone' AND disabled_at IS NOT NULL`, id) == 1
	})
	svc.organization("afterwards.example")
	svc.drained()
	if n := svc.count(`sonicus.webhook_deliveries WHERE status = 'failed' AND failure_reason = 'gone' AND attempt_count = 1`); n != 1 {
		t.Error("the delivery is not shown as failed, gone, after one attempt")
	}
	if n := len(r.got()); n != 1 {
		t.Errorf("%d requests after 410, want 1 in all", n)
	}
	svc.booksAgree()
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	svc.dispatcher()
	r := newReceiver(t, func(n int, _ *http.Request) int {
		if n == 1 {
			return http.StatusTooManyRequests
		}
		return http.StatusOK
	})
	r.header = func(n int, h http.Header) {
		if n == 1 {
			h.Set("Retry-After", "2")
		}
	}
	svc.endpoint(r.URL, nil)
	svc.organization("busy.example")
	svc.drained()
	got := r.got()
	if len(got) != 2 || got[1].at.Sub(got[0].at) < 2*time.Second {
		t.Fatalf("%d requests, want two that are at least 2 s apart", len(got))
	}
	if a, b := got[0].header.Get("webhook-timestamp"), got[1].header.Get("webhook-timestamp"); a >= b {
		t.Errorf("webhook-timestamp %s of the retry is not later than %s", b, a)
	}
	got[1].verify(t)
}

func TestRedirectIsAFailureAndNotFollowed(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	svc.dispatcher()
	elsewhere := newReceiver(t, nil)
	r := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(r.Close)
	svc.endpoint(r.URL, map[string]any{"max_retries": 1})
	svc.organization("redirect.example")
	svc.drained()
	if n := len(elsewhere.got()); n != 0 {
		t.Errorf("the target of the redirect got %d requests", n)
	}
	if n := svc.count(`sonicus.attempts WHERE reason = 'redirect' AND http_status_code = 307`); n != 2 {
		t.Errorf("%d attempts failed as redirects, want 2", n)
	}
}

// firstRequests is how many requests a dispatcher makes at once to a receiver
// that has not answered any.
const firstRequests = 4

func TestHangingEndpointDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	const poll = 5 * time.Second
	svc := start(t, quick(settings{
		"SONICUS_DISPATCH_CONCURRENCY": "40", "SONICUS_DISPATCH_PER_ENDPOINT": "10", "SONICUS_DISPATCH_POLL_INTERVAL": poll.String(),
	}))
	d := svc.dispatcher()
	release := make(chan struct{})
	hanging := newReceiver(t, func(_ int, r *http.Request) int {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return http.StatusOK
	})
	t.Cleanup(func() { close(release) }) // before the server's own Close
	healthy := newReceiver(t, nil)
	svc.endpoint(hanging.URL, map[string]any{"timeout_seconds": 30})
	svc.endpoint(healthy.URL, nil)
	for i := range 60 {
		svc.organization(fmt.Sprintf("org%d.example", i))
	}
	// All 60 arrive while the other endpoint still hangs on its first ten, whose
	// timeout is 30 s: nothing has ended there.
	healthy.await(60)
	if n := svc.count(`sonicus.attempts a JOIN sonicus.deliveries d ON d.id = a.delivery_id
		JOIN sonicus.endpoints e ON e.id = d.endpoint_id WHERE e.timeout_seconds = 30`); n != 0 {
		t.Fatalf("%d attempts of the hanging endpoint have ended: the test was too slow to tell", n)
	}
	if n := hanging.begunRequests(); n != firstRequests {
		t.Errorf("%d requests in flight to the hanging endpoint, want the %d of one that has not answered any", n, firstRequests)
	}
	eventually(t, "the healthy endpoint's results", func() bool { return len(d.records("delivery attempted")) == 60 })
	var slowest float64
	if err := svc.db.Get(&slowest, `SELECT max(extract(epoch FROM d.delivered_at - d.created_at)) FROM sonicus.deliveries d WHERE status = 'sent'`); err != nil {
		t.Fatal(err)
	}
	if slowest > poll.Seconds() {
		t.Errorf("the slowest delivery of the healthy endpoint took %.1f s, longer than the poll interval", slowest)
	}
}

func TestRequestOnTheWireIsTheDocumentedOne(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	svc.dispatcher()
	signed, unsigned := newReceiver(t, nil), newReceiver(t, nil)
	svc.endpoint(signed.URL, nil)
	svc.endpoint(unsigned.URL, map[string]any{"secret_key": nil})
	org := svc.organization("wire.example")
	a, b := signed.await(1)[0], unsigned.await(1)[0]

	p := decode(t, a.body)
	if p.Data.Organization.ID != org || p.Timestamp != p.Data.Organization.CreatedAt {
		t.Errorf("payload %s", a.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "Sonicus-Webhooks/1.0", "X-Sonicus-Event": "organization.created",
		"X-Sonicus-Event-ID": p.EventID, "X-Sonicus-Timestamp": p.Timestamp, "X-Sonicus-Attempt": "1", "webhook-id": p.EventID,
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"X-Sonicus-Signature", "webhook-signature"} {
		if got := b.header.Values(name); len(got) != 0 {
			t.Errorf("an endpoint without a secret got %s: %v", name, got)
		}
	}
	if d := cmp.Diff(a.body, b.body); d != "" {
		t.Error(d)
	}
}
