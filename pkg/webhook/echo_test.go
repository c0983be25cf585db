package webhook_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sonicus/webhooks/pkg/webhook"
)

const (
	marker   = `m4rk3r"of\the/header`
	password = "m4rk3r-of-the-password"
	basic    = "Basic c29tZW9uZTptNHJrM3Itb2YtdGhlLXBhc3N3b3Jk" // someone:m4rk3r-of-the-password
)

// echo answers with all that it got, as debugging receivers do, after so many bytes.
func echo(t *testing.T, before int) string {
	t.Helper()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		w.Header().Set("X-Request-Id", r.Header.Get("X-Own"))
		w.Header().Set("Location", "/login?auth="+strings.ReplaceAll(r.Header.Get("Authorization"), " ", "%20"))
		w.WriteHeader(http.StatusFound)
		_, _ = fmt.Fprint(w, strings.Repeat("x", before))
		_ = json.NewEncoder(w).Encode(map[string]any{"headers": r.Header, "user": user, "password": pass})
		_, _ = fmt.Fprint(w, r.Header)
	}))
	t.Cleanup(receiver.Close)
	return receiver.URL
}

func TestReceiverThatRepeatsTheRequestStoresNoSecret(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 3300, 3500, 3700, 4000, 4090, 5000} {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			t.Parallel()
			s, r := newSender(t, webhook.Options{}), request(echo(t, before))
			r.Target = s.Target(r.URL, r.Keys).WithHeaders(map[string]string{"X-Own": marker, "Authorization": basic})
			got := s.Sender.Send(t.Context(), r.Request)
			kept := got.Error + got.Body
			for value := range maps.Values(got.Headers) {
				kept += value
			}
			for _, secret := range []string{"m4rk3r", basic, basic[6:20]} {
				if strings.Contains(kept, secret) {
					t.Errorf("%s is in %s", secret, kept)
				}
			}
			if got.Headers["X-Request-Id"] != webhook.Mask || got.Headers["Location"] != "/login?auth="+webhook.Mask {
				t.Errorf("headers %v", got.Headers)
			}
			if before == 0 && (!strings.Contains(got.Body, `"X-Own":["********"]`) || !strings.Contains(got.Body, `"password":"********","user":"someone"`)) {
				t.Errorf("body %s", got.Body)
			}
			if got.Truncated != (before > 2500) {
				t.Errorf("truncated: %v", got.Truncated)
			}
		})
	}
}

func TestSendWithCustomHeadersAllocatesLittleMore(t *testing.T) {
	plain, own := 0.0, 0.0
	for _, custom := range []map[string]string{nil, {"Authorization": basic}} {
		s, r := prepared(t, usual)
		if custom != nil {
			r.Target = r.Target.WithHeaders(custom)
		}
		plain, own = own, testing.AllocsPerRun(200, func() {
			if got := s.Send(t.Context(), r); got.Reason != "" {
				t.Fatalf("got %+v", got)
			}
		})
	}
	if t.Logf("%.0f and %.0f allocations", plain, own); own > plain+6 {
		t.Error("masking is not free where there is nothing to mask")
	}
}
