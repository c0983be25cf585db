package webhook_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/signature"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// Many attempts at once through one Target: each carries its own headers and
// signature, and each gets its own answer.
func TestTargetIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	const key = "optional-secret-for-signatures"
	verifier, err := signature.New(key)
	if err != nil {
		t.Fatal(err)
	}
	s := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || verifier.Verify(r.Header, body) != nil || string(body) != r.Header.Get("X-Sonicus-Delivery-ID") {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write(body)
	})
	sender := newSender(t, webhook.Options{})
	target := sender.Target(s.URL, [][]byte{[]byte(key)})
	var sends sync.WaitGroup
	for range 8 {
		sends.Go(func() {
			for range 50 {
				r := request("").Request
				r.Target, r.DeliveryID, r.EventID = target, uuid.New(), uuid.New()
				r.Body = []byte(r.DeliveryID.String())
				got := sender.Sender.Send(t.Context(), r)
				wantReason(t, got, "")
				if got.Body != r.DeliveryID.String() {
					t.Errorf("got the answer %q to %s", got.Body, r.DeliveryID)
				}
			}
		})
	}
	sends.Wait()
}

// A Target outlives the answer of the name server that its URL was stored with; what
// counts is where each connection goes.
func TestReusedTargetIsGuardedOnEveryConnection(t *testing.T) {
	t.Parallel()
	p := newPeer(t, answer("HTTP/1.1 204 No Content\r\n\r\n"))
	server, resolver := newNameServer(t)
	policy := loopback()
	policy.Resolver = resolver
	sender := newSender(t, webhook.Options{Guard: webhook.NewGuard(policy)})
	r := request("").Request
	r.Target = sender.Target(fmt.Sprintf("http://rebind.example.com:%d/", p.addr.Port()), nil)
	for i := range int64(20) {
		server.set("127.0.0.1")
		wantReason(t, sender.Sender.Send(t.Context(), r), "")
		server.set("169.254.169.254")
		sender.CloseIdle()
		got := sender.Sender.Send(t.Context(), r)
		wantReason(t, got, webhook.BlockedAddress)
		if n := p.accepted.Load(); got.Sent || n != i+1 {
			t.Fatalf("round %d: %d connections, got %+v", i, n, got)
		}
	}
}

// A refused URL fails every attempt, with the same words as a refused connection.
func TestRefusedTargetReportsItOnEverySend(t *testing.T) {
	t.Parallel()
	sender := newSender(t, webhook.Options{Guard: webhook.NewGuard(webhook.Policy{})})
	for url, want := range map[string]string{
		"https://10.1.2.3/":                  "target refused: url: the host is not a public address",
		"https://hooks.example.com:5432/":    "target refused: url: the port is not allowed; use 443, 80 or one from 1024 up that no database or broker uses",
		"http://hooks.example.com/":          "target refused: url: must begin with https://",
		"https://user:c4n4ry@example.com/":   "target refused: url: must not hold a user name or password",
		"https://hooks.example.com/\r\nX: 1": "target refused: url: must not contain spaces, control characters or backslashes",
	} {
		r := request("").Request
		r.Target = sender.Target(url, nil)
		for range 2 {
			got := sender.Sender.Send(t.Context(), r)
			if got.Reason != webhook.BlockedAddress || got.Error != want || got.Sent {
				t.Errorf("%s: got %+v", url, got)
			}
		}
	}
}

// A Target was checked by the guard of its Sender, which may allow more than another's.
func TestTargetOfAnotherSenderIsNotUsed(t *testing.T) {
	t.Parallel()
	p := newPeer(t, answer("HTTP/1.1 204 No Content\r\n\r\n"))
	r := request("").Request
	r.Target = newSender(t, webhook.Options{}).Target(p.url, nil)
	got := newSender(t, webhook.Options{}).Sender.Send(t.Context(), r)
	wantReason(t, got, webhook.Internal)
	if got.Sent || p.accepted.Load() != 0 {
		t.Errorf("got %+v", got)
	}
}

// Headers and body of a usual request leave in one piece, without a wait between them.
func TestRequestLeavesInOnePiece(t *testing.T) {
	t.Parallel()
	first := make(chan string, 1)
	p := newPeer(t, func(c net.Conn) {
		buf := make([]byte, 64<<10)
		n, _ := c.Read(buf)
		first <- string(buf[:n])
		_ = readRequest(bufio.NewReader(io.MultiReader(strings.NewReader(string(buf[:n])), c)))
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	wantReason(t, send(t, p.url), "")
	if got := <-first; !strings.HasSuffix(got, "\r\n\r\n"+body) {
		t.Errorf("the first packet ends with %q", got[max(0, len(got)-50):])
	}
}
