package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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

// A receiver in debugging mode must not make what lets requests in there readable
// for everybody who sees deliveries.
func TestSecretsThatAReceiverRepeatsAreNeitherStoredNorShown(t *testing.T) {
	t.Parallel()
	const marker = "m4rk3r-that-nobody-may-see"
	svc := start(t, quick(nil))
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		w.Header().Set("X-Request-Id", r.Header.Get("X-Tenant"))
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintln(w, user, password, r.Header)
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(echo.Close)
	svc.endpoint(echo.URL, map[string]any{
		"max_retries": 0, "headers": map[string]string{"X-Tenant": marker},
		"authentication": map[string]string{"type": "basic", "username": "somebody", "password": marker},
	})
	svc.organization("echoed.example")
	d := svc.dispatcher()
	id := svc.failed()
	var rows []string
	if err := svc.db.Select(&rows, `SELECT a::text FROM sonicus.attempts a UNION ALL SELECT d::text FROM sonicus.webhook_deliveries d`); err != nil {
		t.Fatal(err)
	}
	stored := strings.Join(rows, "\n")
	shown := fmt.Sprint(svc.deliveries(http.StatusOK, http.MethodGet, "/"+id), svc.deliveries(http.StatusOK, http.MethodGet, "/"+id+"/attempts"))
	for where, text := range map[string]string{"tables": stored, "answers": shown} {
		if !strings.Contains(text, "X-Tenant:[********]") || !strings.Contains(text, "somebody ********") {
			t.Errorf("the %s do not show the answer: %s", where, text)
		}
	}
	everything := stored + shown + svc.api.log() + d.log()
	for _, secret := range []string{marker, "c29tZWJvZHk6bTRya"} { // and the beginning of "somebody:m4rk3r" in base64
		if strings.Contains(everything, secret) {
			t.Errorf("%s was stored, shown or printed in the clear", secret)
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
