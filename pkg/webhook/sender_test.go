package webhook_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/sonicus/webhooks/pkg/webhook"
)

func newReceiver(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestReportsWhatTheReceiverAnswered(t *testing.T) {
	t.Parallel()
	s := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Date", "Thu, 07 Aug 2025 16:20:52 GMT")
		h.Set("Content-Type", "text/plain")
		h.Set("Retry-After", "120")
		h.Set("X-Request-Id", "r-1")
		h.Add("Set-Cookie", "session=secret")
		h.Set("Authorization", "secret")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "busy \x00\n\xff ü")
	})
	got := send(t, s.URL)
	if got.Took <= 0 {
		t.Errorf("took %v", got.Took)
	}
	got.StartedAt, got.Took, got.Timing = time.Time{}, 0, webhook.Timing{}
	want := webhook.Result{
		StatusCode: 503, Reason: webhook.UnexpectedStatus, Error: "receiver answered 503", Sent: true,
		Headers: map[string]string{
			"Content-Length": "11", "Content-Type": "text/plain", "Date": "Thu, 07 Aug 2025 16:20:52 GMT",
			"Retry-After": "120", "X-Request-Id": "r-1",
		},
		Body: `busy \x00\n\xff ü`, RetryAfter: 2 * time.Minute, Address: netip.MustParseAddr("127.0.0.1"),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestRefusesRedirects(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var followed atomic.Int64
			target := newReceiver(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
			location := target.URL + "/" + strings.Repeat("x", 1000)
			s := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			})
			got := send(t, s.URL)
			wantReason(t, got, webhook.Redirect)
			if got.StatusCode != status || got.Headers["Location"] != location[:512] {
				t.Errorf("got %d, Location %q", got.StatusCode, got.Headers["Location"])
			}
			if n := followed.Load(); n != 0 {
				t.Errorf("the target got %d requests", n)
			}
		})
	}
}

func TestBlockedAddressesSeeNoConnection(t *testing.T) {
	t.Parallel()
	p := newPeer(t, answer("HTTP/1.1 204 No Content\r\n\r\n"))
	_, resolver := newNameServer(t, "127.0.0.1", "::1")
	guard := webhook.NewGuard(webhook.Policy{AllowHTTP: true, Resolver: resolver})
	sender := newSender(t, webhook.Options{Guard: guard})
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "hooks.example.com"} {
		got := sender.Send(t.Context(), request(fmt.Sprintf("http://%s:%d/", host, p.addr.Port())))
		wantReason(t, got, webhook.BlockedAddress)
		if got.Sent || strings.Contains(got.Error, "127.0.0.1") {
			t.Errorf("%s: got %+v", host, got)
		}
	}
	if n := p.accepted.Load(); n != 0 {
		t.Errorf("the receiver saw %d connections", n)
	}
}

// A name that is public when the URL is stored and loopback when it is dialled.
func TestRebindingReachesNobody(t *testing.T) {
	t.Parallel()
	p := newPeer(t, answer("HTTP/1.1 204 No Content\r\n\r\n"))
	server, resolver := newNameServer(t)
	guard := webhook.NewGuard(webhook.Policy{AllowHTTP: true, Resolver: resolver})
	sender := newSender(t, webhook.Options{Guard: guard})
	raw := fmt.Sprintf("http://rebind.example.com:%d/", p.addr.Port())
	for i := range 1000 {
		server.set("93.184.216.34")
		stored, err := guard.CheckURL(t.Context(), raw)
		if err != nil {
			t.Fatalf("alternation %d: the public answer was refused: %v", i, err)
		}
		server.set("127.0.0.1")
		if got := sender.Send(t.Context(), request(stored)); got.Reason != webhook.BlockedAddress || got.Sent {
			t.Fatalf("alternation %d: got %+v", i, got)
		}
	}
	if n := p.accepted.Load(); n != 0 {
		t.Errorf("the receiver saw %d connections", n)
	}
}

func TestHugeBodyIsCutAndItsConnectionClosed(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	p := newPeer(t, func(c net.Conn) {
		if readRequest(bufio.NewReader(c)) != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
		for chunk := []byte(strings.Repeat("x", 4096)); ; {
			n, err := c.Write(chunk)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	got := send(t, p.url)
	wantReason(t, got, "")
	if got.Body != strings.Repeat("x", 4096) || !got.Truncated {
		t.Errorf("kept %d bytes, truncated %v", len(got.Body), got.Truncated)
	}
	if n := written.Load(); n > 64<<20 { // socket buffers hold some MiB
		t.Errorf("read on for %d bytes", n)
	}
}

func TestCompressedBodyIsNotInflated(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	s := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Header.Get("Accept-Encoding"))
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.CopyN(z, zeros{}, 16<<20)
		_ = z.Close()
	})
	got := send(t, s.URL)
	wantReason(t, got, "")
	if !strings.HasPrefix(got.Body, `\x1f\x8b`) || len(got.Body) > 4096 || !got.Truncated {
		t.Errorf("got %d bytes: %.20s", len(got.Body), got.Body)
	}
	if asked.Load() != "identity" || got.Headers["Content-Encoding"] != "gzip" {
		t.Errorf("asked for %v, got %v", asked.Load(), got.Headers)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestProxyEnvironmentIsIgnored(t *testing.T) {
	var proxied atomic.Int64
	proxy := newReceiver(t, func(http.ResponseWriter, *http.Request) { proxied.Add(1) })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	_, resolver := newNameServer(t, "127.0.0.1") // by name: net/http never proxies loopback addresses
	p := loopback()
	p.Resolver = resolver
	s := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	port := netip.MustParseAddrPort(s.Listener.Addr().String()).Port()
	sender := newSender(t, webhook.Options{Guard: webhook.NewGuard(p)})
	got := sender.Send(t.Context(), request(fmt.Sprintf("http://hooks.example.com:%d/", port)))
	wantReason(t, got, "")
	if n := proxied.Load(); n != 0 {
		t.Errorf("the proxy saw %d requests", n)
	}
}

func TestConfiguredProxyIsUsedAndLiteralsStayGuarded(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	proxy := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())
		w.WriteHeader(http.StatusNoContent)
	})
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	sender := newSender(t, webhook.Options{Guard: webhook.NewGuard(webhook.Policy{AllowHTTP: true}), Proxy: proxyURL})
	wantReason(t, sender.Send(t.Context(), request("http://hooks.example.com/in")), "")
	if asked.Load() != "http://hooks.example.com/in" {
		t.Errorf("the proxy was asked for %v", asked.Load())
	}
	wantReason(t, sender.Send(t.Context(), request("http://127.0.0.1/in")), webhook.BlockedAddress)
}

func TestNewSenderRefusesBadOptions(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]webhook.Options{
		"missing CA file": {CAFile: empty + ".not"}, "empty CA file": {CAFile: empty}, "proxy scheme": {Proxy: &url.URL{Scheme: "ftp", Host: "x"}},
	} {
		if _, err := webhook.NewSender(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDNSFailures(t *testing.T) {
	t.Parallel()
	for _, rcode := range []dnsmessage.RCode{dnsmessage.RCodeNameError, dnsmessage.RCodeServerFailure, dnsmessage.RCodeSuccess} {
		server, resolver := newNameServer(t)
		server.fail(rcode) // RCodeSuccess: an answer without addresses
		p := loopback()
		p.Resolver = resolver
		s := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		url := fmt.Sprintf("http://hooks.example.com:%d/", netip.MustParseAddrPort(s.Listener.Addr().String()).Port())
		sender := newSender(t, webhook.Options{Guard: webhook.NewGuard(p)})
		got := sender.Send(t.Context(), request(url))
		wantReason(t, got, webhook.DNS)
		if got.Sent || strings.Contains(got.Error, "127.0.0.1") {
			t.Errorf("%v: got %+v", rcode, got)
		}
		server.fail(dnsmessage.RCodeSuccess)
		server.set("127.0.0.1")
		wantReason(t, sender.Send(t.Context(), request(url)), "") // nothing remembers the failure
	}
}

func TestSilentNameServerEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	server, resolver := newNameServer(t)
	server.silence()
	sender := newSender(t, webhook.Options{Guard: webhook.NewGuard(webhook.Policy{Resolver: resolver})})
	r := request("https://hooks.example.com/")
	r.Timeout = 300 * time.Millisecond
	got := sender.Send(t.Context(), r)
	wantReason(t, got, webhook.Timeout)
	if got.Sent || !strings.HasSuffix(got.Error, "while resolving the host name") {
		t.Errorf("got %+v", got)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	got := send(t, url)
	wantReason(t, got, webhook.ConnectionRefused)
	if got.Sent {
		t.Error("says that something was sent")
	}
}

func TestCanceledSendEndsAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := newPeer(t, func(c net.Conn) {
		_ = readRequest(bufio.NewReader(c))
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	got := newSender(t, webhook.Options{}).Send(ctx, request(p.url))
	wantReason(t, got, webhook.Canceled)
	if !got.Sent || got.Took > 15*time.Second {
		t.Errorf("got %+v", got)
	}
}
