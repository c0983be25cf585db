package webhook_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/webhook"
)

// steps names those that have a time.
func steps(t webhook.Timing) string {
	text := ""
	for _, s := range []struct {
		name string
		took bool
	}{{"dns ", t.DNS > 0}, {"connect ", t.Connect > 0}, {"tls ", t.TLS > 0}, {"first byte", t.FirstByte > 0}} {
		if s.took {
			text += s.name
		}
	}
	return text
}

func TestStepsThatDidNotHappenHaveNoTime(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert := ca.issue(t, unchanged)
	secure, _ := tlsPeer(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	plain := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	refusing := &peer{addr: netip.MustParseAddrPort(l.Addr().String())}
	stalling := newPeer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	s := tlsSender(t, ca)
	proxy, err := url.Parse(plain.URL) // it answers whatever it is asked
	if err != nil {
		t.Fatal(err)
	}
	proxied := newSender(t, webhook.Options{Guard: webhook.NewGuard(loopback()), Proxy: proxy})
	for _, tt := range []struct {
		name    string
		sender  sender
		url     string
		steps   string
		address string
	}{
		{"everything", s, secure.https(), "dns connect tls first byte", "127.0.0.1"},
		{"an address, without TLS", s, plain.URL, "connect first byte", "127.0.0.1"},
		{"the same connection again", s, plain.URL, "first byte", "127.0.0.1"},
		{"nobody listens", s, refusing.https(), "dns connect ", "127.0.0.1"},
		{"a blocked address", s, "http://10.1.2.3/", "", ""},
		{"no answer", s, stalling.url, "connect ", "127.0.0.1"},
		{"through a proxy", proxied, plain.URL, "connect first byte", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(tt.url)
			if tt.name == "no answer" {
				r.Timeout = 100 * time.Millisecond
			}
			got := tt.sender.Send(t.Context(), r)
			if steps(got.Timing) != tt.steps {
				t.Errorf("times of %q, want %q: %+v", steps(got.Timing), tt.steps, got)
			}
			if want, _ := netip.ParseAddr(tt.address); got.Address != want {
				t.Errorf("address %v, want %v", got.Address, want)
			}
			if sum := got.Timing.DNS + got.Timing.Connect + got.Timing.TLS + got.Timing.FirstByte; sum > got.Took {
				t.Errorf("the steps took %v, all of it %v", sum, got.Took)
			}
		})
	}
}
