package e2e_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/sonicus/webhooks/pkg/signature"
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

func TestPausedUnderLoadKeepsAllAndResumesSlowly(t *testing.T) {
	t.Parallel()
	const before, during = 200, 100
	svc := start(t, quick(nil))
	r, other := newReceiver(t, nil), newReceiver(t, nil)
	id := svc.endpoint(r.URL, map[string]any{"rate_limit": 100})
	svc.endpoint(other.URL, nil)
	publisher := newPublisher(svc)
	publisher.mustPublish(1, organizations(before)...)
	svc.dispatcher()
	svc.dispatcher()
	r.await(20)
	svc.manage(http.StatusOK, http.MethodPost, id+"/pause", nil)
	eventually(t, "what was claimed to end", func() bool {
		return svc.count(`sonicus.queue WHERE endpoint_id = $1 AND lease_until > clock_timestamp()`, id) == 0
	})
	paused := r.begunRequests()
	if paused == before {
		t.Fatal("nothing was left to pause")
	}
	publisher.mustPublish(1, organizations(during)...)
	other.await(before + during)
	if n := r.begunRequests(); n != paused {
		t.Errorf("%d requests during the pause", n-paused)
	}
	svc.manage(http.StatusOK, http.MethodPatch, id, map[string]any{"rate_limit": nil})
	svc.manage(http.StatusOK, http.MethodPost, id+"/resume", nil)
	svc.drained()
	if n, repeated := accepted(r.got()); n != before+during || repeated > 0 {
		t.Errorf("%d of %d arrived, %d again", n, before+during, repeated)
	}
	resumed := r.got()[paused:]
	if took := resumed[len(resumed)-1].at.Sub(resumed[0].at); took < time.Second {
		t.Errorf("%d deliveries within %s after the pause", len(resumed), took)
	}
	svc.verified()
}

func TestEnabledEndpointGetsWhatWasKeptAndStaysOn(t *testing.T) {
	t.Parallel()
	const deliveries = 12
	svc := start(t, quick(settings{"SONICUS_DISABLE_AFTER": "1s", "SONICUS_BREAKER_FIRST_OPEN": "100ms", "SONICUS_BREAKER_MAX_OPEN": "200ms"}))
	var well atomic.Bool
	r := newReceiver(t, func(n int, _ *http.Request) int {
		if well.Load() && n%2 == 0 { // it is not all well yet
			return http.StatusNoContent
		}
		return http.StatusInternalServerError
	})
	id := svc.endpoint(r.URL, map[string]any{"max_retries": 50, "breaker_failures": 5})
	svc.dispatcher()
	newPublisher(svc).mustPublish(1, organizations(deliveries)...)
	disabled := func() bool {
		return svc.manage(http.StatusOK, http.MethodGet, id, nil)["disabled_reason"] == "failing"
	}
	eventually(t, "the endpoint to be switched off", disabled)
	well.Store(true)
	shown := svc.manage(http.StatusOK, http.MethodPost, id+"/enable", nil)
	if shown["is_active"] != true || shown["disabled_reason"] != nil || shown["breaker_state"] != "closed" || shown["failing_since"] != nil {
		t.Errorf("enabled: %v", shown)
	}
	svc.drained()
	if n, _ := accepted(r.got()); n != deliveries || disabled() {
		t.Errorf("%d of %d arrived; switched off again: %v", n, deliveries, disabled())
	}
	svc.verified()
}

// signedBy says which of the two signatures a key verifies.
func (a arrival) signedBy(t *testing.T, key string) (sonicus, standard bool) {
	t.Helper()
	v, err := signature.New(key)
	if err != nil {
		t.Fatal(err)
	}
	oracle, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	return v.VerifySonicus(a.header, []byte(a.body)) == nil, oracle.Verify([]byte(a.body), a.header) == nil
}

func TestSecretRotatedUnderLoadLosesNoReceiver(t *testing.T) {
	t.Parallel()
	const deliveries, atOnce = 200, 32
	svc := start(t, quick(settings{"SONICUS_DISPATCH_PER_ENDPOINT": strconv.Itoa(atOnce)}))
	r := newReceiver(t, nil)
	id := svc.endpoint(r.URL, map[string]any{"rate_limit": 200})
	publisher := newPublisher(svc)
	publisher.mustPublish(1, organizations(deliveries)...)
	svc.dispatcher()
	svc.dispatcher()
	r.await(20)
	second, _ := svc.manage(http.StatusOK, http.MethodPost, id+"/rotate-secret", map[string]any{"overlap_seconds": 3600})["secret_key"].(string)
	switched, late := false, 0 // late: one dispatcher had claimed them, when the other one already knew
	for i, a := range r.await(deliveries) {
		if _, old := a.signedBy(t, secretKey); !old {
			t.Fatalf("a receiver that knows the old secret refuses request %d", i)
		}
		sonicus, standard := a.signedBy(t, second)
		if sonicus != standard {
			t.Fatalf("request %d is signed by the new secret: sha256= %v, v1 %v", i, sonicus, standard)
		}
		if switched && !standard {
			late++
		}
		switched = switched || standard
	}
	if late > atOnce {
		t.Errorf("%d requests are not signed by the new secret after the first that is, want no more than a dispatcher has at once", late)
	}
	last := r.got()[deliveries-1]
	if n := strings.Count(last.header.Get("webhook-signature"), "v1,"); !switched || n != 2 {
		t.Errorf("the last request has %d signatures, %q", n, last.header.Get("webhook-signature"))
	}

	third, _ := svc.manage(http.StatusOK, http.MethodPost, id+"/rotate-secret", map[string]any{"overlap_seconds": 0})["secret_key"].(string)
	publisher.mustPublish(1, organizations(1)...)
	a := r.await(deliveries + 1)[deliveries]
	if sonicus, standard := a.signedBy(t, third); !sonicus || !standard {
		t.Error("a new secret without an overlap does not sign")
	}
	if sonicus, standard := a.signedBy(t, second); sonicus || standard {
		t.Error("an old secret without an overlap signs")
	}
	svc.verified()
}

func TestHeadersOfTheEndpointAreSent(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	r := newReceiver(t, nil)
	id := svc.endpoint(r.URL, map[string]any{"headers": map[string]string{"X-API-Key": "k-1", "Authorization": "Bearer t"}})
	publisher := newPublisher(svc)
	d := svc.dispatcher()
	publisher.mustPublish(1, organizations(1)...)
	first := r.await(1)[0]
	first.verify(t)
	if got := first.header; got.Get("X-Api-Key") != "k-1" || got.Get("Authorization") != "Bearer t" || got.Get("User-Agent") != "Sonicus-Webhooks/1.0" {
		t.Errorf("sent %v", got)
	}
	svc.manage(http.StatusOK, http.MethodPatch, id, map[string]any{
		"headers": map[string]any{"X-API-Key": "k-2"}, "authentication": map[string]any{"type": "basic", "username": "ada", "password": "l"},
	})
	publisher.mustPublish(1, organizations(1)...)
	if got := r.await(2)[1].header; got.Get("X-Api-Key") != "k-2" || got.Get("Authorization") != "Basic YWRhOmw=" {
		t.Errorf("sent after the change: %v", got)
	}
	if log := d.log(); strings.Contains(log, "k-1") || strings.Contains(log, "Bearer t") {
		t.Error("a value is in the log")
	}
}
