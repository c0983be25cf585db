package e2e_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func testIsSent(t *testing.T, d *document) {
	r := newReceiver(t, nil)
	d.svc.on(t).expects(http.StatusOK, jwtFor("tester", "super_admin"), http.MethodPost, webhooksPath+"test", map[string]any{"url": r.URL + "/hook", "test_data": map[string]any{"custom": "test data"}})
	got := r.await(1)[0]
	var event struct{ Data map[string]any }
	if err := json.Unmarshal([]byte(got.body), &event); err != nil || event.Data["custom"] != "test data" || got.target != "/hook" {
		t.Errorf("%s got %s (%v)", got.target, got.body, err)
	}
}

func testIsAnswered(t *testing.T, d *document) {
	svc := d.svc.on(t)
	ask := func(r *receiver) map[string]any {
		return svc.expects(http.StatusOK, jwtFor("tester", "super_admin"), http.MethodPost, webhooksPath+"test", map[string]any{"url": r.URL, "test_data": map[string]any{}})
	}
	good := ask(newReceiver(t, always(http.StatusOK)))
	if took, ok := good["response_time_ms"].(float64); good["success"] != true || good["status_code"] != 200.0 || !ok || took <= 0 || good["error_message"] != nil || len(good) != 4 {
		t.Errorf("good: %v", good)
	}
	bad := ask(newReceiver(t, always(http.StatusBadGateway)))
	if text, _ := bad["error_message"].(string); bad["success"] != false || bad["status_code"] != 502.0 || text == "" {
		t.Errorf("bad: %v", bad)
	}
}

// triggered lets a test go to all endpoints and returns the answer.
func (d *document) triggered(t *testing.T, caller string) map[string]any {
	t.Helper()
	svc := d.svc.on(t)
	return svc.expects(http.StatusAccepted, jwtFor(caller, "super_admin"), http.MethodPost, webhooksPath+"trigger-test", nil)
}

func triggersTest(t *testing.T, d *document) {
	if answer := d.triggered(t, "trigger one"); answer["message"] == nil {
		t.Errorf("answered %v", answer)
	}
}

func triggeredTestArrives(t *testing.T, d *document) {
	svc := d.svc.on(t)
	other, off := newReceiver(t, nil), newReceiver(t, nil)
	svc.endpoint(other.URL, map[string]any{"events": []string{"webhook.endpoint.disabled"}})
	svc.manage(http.StatusOK, http.MethodPost, svc.endpoint(off.URL, nil)+"/disable", nil)
	id, _ := d.triggered(t, "trigger two")["test_organization_id"].(string)
	for name, r := range map[string]*heard{"signed": d.signed, "unsigned": d.unsigned, "flaky": d.flaky} {
		eventually(t, "the test at "+name, func() bool { return strings.Contains(bodies(r.got()), id) })
	}
	for _, a := range d.signed.got() {
		if strings.Contains(a.body, id) && (a.header.Get("X-Sonicus-Event") != "organization.created" || !strings.Contains(a.body, `"test":true`)) {
			t.Errorf("sent %s", a.body)
		}
	}
	if len(other.got())+len(off.got()) > 0 {
		t.Error("it went to an endpoint that is not subscribed, or is off")
	}
}

func bodies(all []arrival) string {
	var b strings.Builder
	for _, a := range all {
		b.WriteString(a.body)
	}
	return b.String()
}

func triggeredTestIsAnswered(t *testing.T, d *document) {
	answer := d.triggered(t, "trigger three")
	id, _ := answer["test_organization_id"].(string)
	if answer["message"] != "Test webhook triggered successfully" || !regexp.MustCompile(`^test-org-\d+$`).MatchString(id) {
		t.Errorf("answered %v", answer)
	}
}

// atRest waits until all is delivered that can be.
func (d *document) atRest(t *testing.T) {
	t.Helper()
	eventually(t, "the rest to be delivered", func() bool {
		return d.svc.on(t).count(`sonicus.queue WHERE endpoint_id NOT IN (SELECT id FROM sonicus.webhook_endpoints WHERE paused_at IS NOT NULL OR breaker_state <> 'closed')`) == 0
	})
}

func organizationsAreFiltered(t *testing.T, d *document) {
	r := newReceiver(t, nil)
	id := d.onboard(t, own(r, nil))
	d.onboard(t)
	r.await(1)
	d.atRest(t)
	if got := r.got(); len(got) != 1 || decode(t, got[0].body).Data.Organization.ID != id {
		t.Errorf("%d arrived: %s", len(got), bodies(got))
	}
}

// arrives: a receiver gets an event of this type.
func arrives(t *testing.T, r *receiver, eventType string) {
	t.Helper()
	eventually(t, eventType, func() bool {
		for _, a := range r.got() {
			if a.header.Get("X-Sonicus-Event") == eventType && strings.Contains(a.body, `"event_type":"`+eventType+`"`) {
				a.verify(t)
				return true
			}
		}
		return false
	})
}

func organizationEventsArrive(t *testing.T, d *document) {
	svc, r := d.svc.on(t), newReceiver(t, nil)
	path := "/api/v1/organizations/" + d.onboard(t, own(r, nil))
	svc.expects(http.StatusOK, svc.token, http.MethodPatch, path, map[string]any{"name": "Renamed"})
	arrives(t, r, "organization.updated")
	all := newReceiver(t, nil) // what belongs to the organization goes with it
	svc.endpoint(all.URL, map[string]any{"events": []string{"organization.deleted"}})
	svc.expects(http.StatusNoContent, svc.token, http.MethodDelete, path, nil)
	arrives(t, all, "organization.deleted")
}

func userEventsArrive(t *testing.T, d *document) {
	svc, r := d.svc.on(t), newReceiver(t, nil)
	path := "/api/v1/organizations/" + d.onboard(t, own(r, nil)) + "/users"
	made := svc.expects(http.StatusCreated, svc.token, http.MethodPost, path, map[string]any{"email": "grace@example.com", "full_name": "Grace Hopper"})
	id, _ := made["id"].(string)
	arrives(t, r, "user.created")
	svc.expects(http.StatusOK, svc.token, http.MethodPatch, path+"/"+id, map[string]any{"full_name": "G. Hopper"})
	arrives(t, r, "user.updated")
	svc.expects(http.StatusNoContent, svc.token, http.MethodDelete, path+"/"+id, nil)
	arrives(t, r, "user.deleted")
}

func subscriptionEventsArrive(t *testing.T, d *document) {
	svc, r := d.svc.on(t), newReceiver(t, nil)
	path := "/api/v1/organizations/" + d.onboard(t, own(r, nil)) + "/subscription"
	svc.expects(http.StatusOK, svc.token, http.MethodPatch, path, map[string]any{"subscription_tier": "enterprise"})
	arrives(t, r, "subscription.changed")
}

// eventsAreFiltered: by type and by payload.
func eventsAreFiltered(t *testing.T, d *document) {
	got, other, held := newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil)
	tier := func(is string) map[string]any {
		return map[string]any{"filter": map[string]any{"data.organization.subscription_tier": is}}
	}
	d.onboard(t, own(other, map[string]any{"events": []string{"webhook.*"}}), own(held, tier("enterprise")), own(got, tier("premium")))
	arrives(t, got, "organization.created")
	d.atRest(t)
	if len(other.got())+len(held.got()) > 0 {
		t.Error("an event came that was not asked for")
	}
}
