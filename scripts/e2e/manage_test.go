package e2e_test

import (
	"net/http"
	"testing"
)

const endpointsPath = "/api/v1/webhooks/endpoints/"

// manage makes a request about an endpoint and expects the status.
func (s *service) manage(want int, method, path string, body any) map[string]any {
	s.t.Helper()
	status, answer, err := s.call(method, endpointsPath+path, body)
	if err != nil || status != want {
		s.t.Fatalf("%s %s: %d %v %v", method, path, status, answer, err)
	}
	return answer
}

func TestEndpointDeletedUnderLoadIsLeftAlone(t *testing.T) {
	t.Parallel()
	const deliveries = 300
	svc := start(t, quick(nil))
	r := newReceiver(t, func(n int, _ *http.Request) int {
		if n%3 == 0 {
			return http.StatusInternalServerError
		}
		return http.StatusNoContent
	})
	other := newReceiver(t, nil)
	id := svc.endpoint(r.URL, map[string]any{"events": []string{"organization.*"}, "max_retries": 50, "rate_limit": 100})
	svc.endpoint(other.URL, nil)
	publisher := newPublisher(svc)
	publisher.mustPublish(1, organizations(deliveries)...)
	svc.dispatcher()
	svc.dispatcher()
	r.await(20)
	svc.manage(http.StatusNoContent, http.MethodDelete, id, nil)
	svc.manage(http.StatusNotFound, http.MethodDelete, id, nil)
	svc.manage(http.StatusNotFound, http.MethodGet, id, nil)
	svc.drained()
	requests := r.begunRequests()
	publisher.mustPublish(1, organizations(1)...)
	other.await(deliveries + 1)
	if n := r.begunRequests(); n != requests {
		t.Errorf("%d requests after everything had ended", n-requests)
	}
	for _, a := range r.got() {
		a.verify(t)
	}
	sent, _ := accepted(r.got())
	if n := svc.count(`sonicus.deliveries WHERE endpoint_id = $1 AND status = 'sent'`, id); n != sent || n > deliveries/2 {
		t.Errorf("%d deliveries are sent, the receiver accepted %d", n, sent)
	}
	if n := svc.count(`sonicus.deliveries WHERE endpoint_id = $1 AND failure_reason = 'endpoint_deleted'`, id); n != deliveries-sent {
		t.Errorf("%d deliveries ended with the endpoint, %d were sent, %d were published", n, sent, deliveries)
	}
	svc.verified()
}
