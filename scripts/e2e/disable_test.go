package e2e_test

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
)

// disabledPayload is that of webhook.endpoint.disabled.
type disabledPayload struct {
	EventType string `json:"event_type"`
	Data      struct {
		Endpoint map[string]any `json:"endpoint"`
	} `json:"data"`
}

// checkDisabled checks what an endpoint for operational events was told.
func checkDisabled(t *testing.T, a arrival, id, url, reason string) {
	t.Helper()
	a.verify(t)
	var p disabledPayload
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	e := p.Data.Endpoint
	if p.EventType != "webhook.endpoint.disabled" || e["id"] != id || e["url"] != url || e["disabled_reason"] != reason || e["disabled_at"] == nil {
		t.Errorf("got %s", a.body)
	}
}

func TestEndpointThatOnlyFailsIsSwitchedOffAndKeepsItsQueue(t *testing.T) {
	t.Parallel()
	const deliveries = 12
	svc := start(t, quick(settings{"SONICUS_DISABLE_AFTER": "1s", "SONICUS_BREAKER_FAILURES": "0"}))
	var well atomic.Bool
	r := newReceiver(t, func(int, *http.Request) int {
		if well.Load() {
			return http.StatusOK
		}
		return http.StatusInternalServerError
	})
	ops, business := newReceiver(t, nil), newReceiver(t, nil)
	id := svc.endpoint(r.URL+"/hook?token=hunter2", map[string]any{"events": []string{"organization.*"}, "max_retries": 50})
	svc.endpoint(ops.URL, map[string]any{"events": []string{"webhook.*"}})
	svc.endpoint(business.URL, map[string]any{"events": []string{"*"}})
	svc.dispatcher()
	svc.dispatcher()
	newPublisher(svc).mustPublish(1, organizations(deliveries)...)

	checkDisabled(t, ops.await(1)[0], id, r.URL+"/hook", "failing")
	business.await(deliveries)
	if n := svc.count(`sonicus.webhook_endpoints WHERE id = $1 AND NOT is_active AND disabled_reason = 'failing' AND disabled_at IS NOT NULL`, id); n != 1 {
		t.Error("the endpoint is not shown as switched off for failing")
	}
	eventually(t, "attempts in flight to end", func() bool { return svc.count(`sonicus.queue WHERE lease_token IS NOT NULL`) == 0 })
	requests := r.begunRequests()
	if n := svc.count(`sonicus.queue WHERE endpoint_id = $1`, id); n != deliveries {
		t.Errorf("%d of %d deliveries are kept", n, deliveries)
	}
	svc.verified()
	newPublisher(svc).mustPublish(1, organizations(1)...)
	business.await(deliveries + 1)
	if n := r.begunRequests(); n != requests {
		t.Errorf("%d requests after the endpoint was switched off", n-requests)
	}

	well.Store(true) // and an operator switches it on
	if _, err := svc.db.Exec(`UPDATE sonicus.endpoints SET is_active = true, disabled_reason = NULL, disabled_at = NULL WHERE id = $1`, id); err != nil {
		t.Fatal(err)
	}
	svc.drained()
	if n, _ := accepted(r.got()); n != deliveries {
		t.Errorf("%d of the %d deliveries that were kept arrived", n, deliveries)
	}
	if n := svc.attemptsSpent(); n != len(r.got())+len(ops.got())+len(business.got()) {
		t.Errorf("%d attempts are spent, more than requests were made", n)
	}
	if n := len(ops.got()); n != 1 {
		t.Errorf("%d operational events, want 1", n)
	}
	if n := len(business.got()); n != deliveries+1 {
		t.Errorf("an endpoint for * got %d events, want the %d business events", n, deliveries+1)
	}
	svc.verified()
}

func TestGoneReceiverIsReported(t *testing.T) {
	t.Parallel()
	const deliveries = 20
	svc := start(t, quick(nil))
	r := newReceiver(t, func(int, *http.Request) int { return http.StatusGone })
	ops := newReceiver(t, nil)
	// Not all at once: some are to be left when the first answer is recorded.
	id := svc.endpoint(r.URL, map[string]any{"events": []string{"organization.*"}, "rate_limit": 100})
	svc.endpoint(ops.URL, map[string]any{"events": []string{"webhook.endpoint.disabled"}})
	newPublisher(svc).mustPublish(1, organizations(deliveries)...)
	svc.dispatcher()
	svc.dispatcher()
	checkDisabled(t, ops.await(1)[0], id, r.URL, "gone")
	eventually(t, "attempts in flight to end", func() bool { return svc.count(`sonicus.queue WHERE lease_token IS NOT NULL`) == 0 })
	requests := len(r.got())
	if n := svc.count(`sonicus.deliveries WHERE failure_reason = 'gone' AND attempt_count = 1`); n != requests {
		t.Errorf("%d deliveries failed as gone, the receiver saw %d requests", n, requests)
	}
	if n := svc.count(`sonicus.queue WHERE endpoint_id = $1`, id); n != deliveries-requests || n == 0 {
		t.Errorf("%d deliveries are kept after %d of %d were refused", n, requests, deliveries)
	}
	if n := svc.count(`sonicus.events WHERE event_type = 'webhook.endpoint.disabled'`); n != 1 {
		t.Errorf("%d events of one endpoint that was switched off", n)
	}
	svc.verified()
}
