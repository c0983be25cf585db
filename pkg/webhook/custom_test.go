package webhook_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sonicus/webhooks/pkg/webhook"
)

func TestHeadersThatOthersOwnAreReserved(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect",
		"Proxy-Authorization", "Proxy-Connection", "Cookie", "User-Agent", "Accept-Encoding", "Idempotency-Key", "X-Idempotency-Key", "X-Sonicus-Signature", "X-Sonicus-",
		"Webhook-Id", "webhook-signature", "Svix-Id", "X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Amz-Date", "X-Goog-Api-Key", "Metadata", "Metadata-Flavor",
	} {
		for _, spelt := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if found := webhook.CheckHeader("f", spelt, "x"); len(found) != 1 || found[0].Code != "reserved_header" || found[0].Field != "f" {
				t.Errorf("%s: %v", spelt, found)
			}
		}
	}
	for _, name := range []string{"Authorization", "X-Api-Key", "Accept", "X-Webhook-Token", "Tea", "Hosts", "Forward", "Viaduct", "X-Real", strings.Repeat("a", 64), "!#$%&'*+-.^_`|~09az"} {
		if found := webhook.CheckHeader("f", name, ""); found != nil {
			t.Errorf("%s: %v", name, found)
		}
	}
	for _, name := range []string{"", " ", "a b", "a:", "a\r\nb", "ä", "a\x00", "(a)", "a/b", strings.Repeat("a", 65)} {
		if found := webhook.CheckHeader("f", name, "x"); len(found) != 1 || found[0].Code != "invalid_header_name" {
			t.Errorf("%q: %v", name, found)
		}
	}
	for value, good := range map[string]bool{
		"": true, "a b\tc": true, "~!\"": true, strings.Repeat("a", 4096): true, strings.Repeat("a", 4097): false,
		"a\r\nX-B: c": false, "a\n": false, "\r": false, "\x00": false, "\x7f": false, "é": false, "\u2028": false, "\x1b[31m": false, "\xff": false,
	} {
		if found := webhook.CheckHeader("f", "X-A", value); (found == nil) != good || (!good && found[0].Code != "invalid_header_value") {
			t.Errorf("%q: %v", shorten(value), found)
		}
	}
}

func shorten(s string) string { return s[:min(len(s), 40)] }

// What passes the check puts exactly one line into the request.
func TestNoValueInjectsALine(t *testing.T) {
	t.Parallel()
	var got http.Header
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	t.Cleanup(receiver.Close)
	s, r := newSender(t, webhook.Options{}), request(receiver.URL)
	const alphabet = "ab:,;\"\\\r\n\t \x00\x7f\x1bé\u2028X-Injected"
	letters := []rune(alphabet)
	passed := 0
	for range 10_000 {
		value := make([]rune, rand.IntN(6))
		for i := range value {
			value[i] = letters[rand.IntN(len(letters))]
		}
		if webhook.CheckHeader("f", "X-Own", string(value)) != nil {
			continue
		}
		passed++
		if passed > 300 { // enough requests
			continue
		}
		r.Target = s.Target(r.URL, r.Keys).WithHeaders(map[string]string{"X-Own": string(value)})
		if result := s.Sender.Send(t.Context(), r.Request); result.Reason != "" {
			t.Fatalf("%q: %+v", string(value), result)
		}
		if want := strings.Trim(string(value), " \t"); got.Get("X-Own") != want || len(got["X-Own"]) != 1 || got.Get("X-Injected") != "" {
			t.Fatalf("%q became %v", string(value), got)
		}
	}
	if passed < 300 {
		t.Errorf("only %d passed", passed)
	}
}
