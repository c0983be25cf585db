package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

const deliveriesPath = "/api/v1/webhooks/deliveries"

// deliveries asks for the list, or for one with what is done to it.
func (s *service) deliveries(want int, method, rest string) map[string]any {
	s.t.Helper()
	status, answer, err := s.call(method, deliveriesPath+rest, nil)
	if err != nil || status != want {
		s.t.Fatalf("%s %s: %d %v %v", method, rest, status, answer, err)
	}
	return answer
}

// failed waits for a delivery to be given up and returns its id.
func (s *service) failed() (id string) {
	s.t.Helper()
	eventually(s.t, "a failed delivery", func() bool {
		for _, d := range s.deliveries(http.StatusOK, http.MethodGet, "?status=failed&limit=1")["data"].([]any) {
			id = d.(map[string]any)["id"].(string)
		}
		return id != ""
	})
	return id
}

// What the API tells of an attempt is what the receiver has seen, but for secrets.
func TestFailedDeliveryIsRetriedByHandAndShowsWhatWasSent(t *testing.T) {
	t.Parallel()
	const hidden = "a-value-that-nobody-may-see"
	svc := start(t, quick(nil))
	r := newReceiver(t, func(n int, _ *http.Request) int {
		if n == 1 {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	})
	svc.endpoint(r.URL, map[string]any{"max_retries": 0, "headers": map[string]string{"X-Tenant": hidden}})
	svc.organization("retried.example")
	svc.dispatcher()
	id := svc.failed()
	retried := svc.deliveries(http.StatusAccepted, http.MethodPost, "/"+id+"/retry")
	if retried["max_attempts"] != 2.0 || retried["status"] == "failed" {
		t.Errorf("retried: %v", retried)
	}
	seen := r.await(2)
	svc.drained()
	shown := svc.deliveries(http.StatusOK, http.MethodGet, "/"+id)
	attempts := shown["attempts"].([]any)
	if shown["status"] != "sent" || len(attempts) != 2 || len(seen) != 2 {
		t.Fatalf("%d requests, shown: %v", len(seen), shown)
	}
	for i, a := range attempts {
		a := a.(map[string]any)
		headers := a["request_headers"].(map[string]any)
		for name, value := range headers {
			got := seen[i].header.Get(name)
			prefix, masked := strings.CutSuffix(value.(string), "********")
			if got != value && (!masked || !strings.HasPrefix(got, prefix)) {
				t.Errorf("attempt %d: %s is shown as %q, the receiver saw %q", i+1, name, value, got)
			}
		}
		if more := len(seen[i].header) - len(headers); more != 1 { // Content-Length
			t.Errorf("attempt %d: the receiver saw %d more headers than are shown: %v", i+1, more, seen[i].header)
		}
		if a["remote_address"] != "127.0.0.1" || a["timings"].(map[string]any)["first_byte_ms"] == nil || headers["X-Tenant"] == hidden {
			t.Errorf("attempt %d: %v", i+1, a)
		}
	}
	svc.verified()
}

func TestCanceledDeliveryIsNotSent(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	r := newReceiver(t, nil)
	id := svc.endpoint(r.URL, nil)
	svc.organization("canceled.example")
	svc.organization("sent.example")
	first := svc.deliveries(http.StatusOK, http.MethodGet, "?status=pending&endpoint_id="+id)["data"].([]any)[1].(map[string]any)["id"].(string)
	if d := svc.deliveries(http.StatusOK, http.MethodPost, "/"+first+"/cancel"); d["status"] != "failed" || d["failure_reason"] != "canceled" {
		t.Errorf("canceled: %v", d)
	}
	svc.deliveries(http.StatusConflict, http.MethodPost, "/"+first+"/cancel")
	svc.dispatcher()
	r.await(1)
	svc.drained()
	if got := r.got(); len(got) != 1 || got[0].header.Get("X-Sonicus-Delivery-ID") == first {
		t.Errorf("%d requests arrived", len(got))
	}
	svc.verified()
}
