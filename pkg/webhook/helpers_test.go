package webhook_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/sonicus/webhooks/pkg/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const body = `{"event_type":"organization.created"}`

// loopback is the policy of nearly every test: receivers listen on 127.0.0.1.
func loopback() webhook.Policy {
	return webhook.Policy{AllowHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

// sender makes a new Target for every Send, so that a test can say where to and with
// which keys in one place.
type sender struct{ *webhook.Sender }

type attempt struct {
	webhook.Request
	URL  string
	Keys [][]byte
}

func (s sender) Send(ctx context.Context, a attempt) webhook.Result {
	a.Target = s.Target(a.URL, a.Keys)
	return s.Sender.Send(ctx, a.Request)
}

func newSender(t testing.TB, o webhook.Options) sender {
	t.Helper()
	if o.Guard == nil {
		o.Guard = webhook.NewGuard(loopback())
	}
	s, err := webhook.NewSender(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.CloseIdle)
	return sender{s}
}

func request(url string) attempt {
	return attempt{URL: url, Keys: [][]byte{[]byte("optional-secret-for-signatures")}, Request: webhook.Request{
		EventType: "organization.created", EventTime: "2025-08-07T16:20:52.123456Z",
		EventID:    uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"),
		DeliveryID: uuid.MustParse("0198b5a4-7d1c-7f5e-9a55-1c0ffee00001"),
		Attempt:    3, Body: []byte(body), Timeout: 20 * time.Second,
	}}
}

// send sends once with a Sender of its own.
func send(t testing.TB, url string) webhook.Result {
	t.Helper()
	return newSender(t, webhook.Options{}).Send(t.Context(), request(url))
}

// peer is a receiver that is not even a web server.
type peer struct {
	url      string
	addr     netip.AddrPort
	accepted atomic.Int64 // connections
}

// newPeer serves each connection with handle, which returns to close it. Everything
// has ended when the test ends.
func newPeer(t testing.TB, handle func(net.Conn)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{url: "http://" + l.Addr().String() + "/hook", addr: netip.MustParseAddrPort(l.Addr().String())}
	var running sync.WaitGroup
	var conns sync.Map
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.accepted.Add(1)
			conns.Store(c, nil)
			running.Go(func() { defer func() { _ = c.Close() }(); handle(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		running.Wait()
	})
	return p
}

// answer reads one request and writes text.
func answer(text string) func(net.Conn) {
	return func(c net.Conn) {
		if readRequest(bufio.NewReader(c)) == nil {
			_, _ = io.WriteString(c, text)
		}
	}
}

func readRequest(r *bufio.Reader) error {
	req, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err
}

// drip writes text again and again, with a pause, until the peer is gone.
func drip(c net.Conn, text string, pause time.Duration) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		if pause > 0 {
			<-time.After(pause)
		}
	}
}

// wantReason fails the test unless r failed for the reason, with a sentence.
func wantReason(t testing.TB, r webhook.Result, reason webhook.Reason) {
	t.Helper()
	if r.Reason != reason || (r.Error == "") != (reason == "") {
		t.Errorf("got reason %q (%s), want %q", r.Reason, r.Error, reason)
	}
}
