package webhook_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/webhook"
)

func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	flood := func(begin, again string) func(net.Conn) {
		return func(c net.Conn) {
			if readRequest(bufio.NewReader(c)) == nil {
				_, _ = io.WriteString(c, begin)
				drip(c, again, 0)
			}
		}
	}
	tests := []struct {
		name   string
		handle func(net.Conn)
		reason webhook.Reason
		status int
	}{
		{"endless header lines", flood("HTTP/1.1 200 OK\r\n", "X-A: "+strings.Repeat("a", 1000)+"\r\n"), webhook.ResponseHeadersTooLarge, 0},
		{"one endless header line", flood("HTTP/1.1 200 OK\r\nX-A: ", strings.Repeat("a", 1000)), webhook.ResponseHeadersTooLarge, 0},
		{"endless status line", flood("HTTP/1.1 200 ", strings.Repeat("a", 1000)), webhook.ResponseHeadersTooLarge, 0},
		{"endless 103", flood("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), webhook.ResponseHeadersTooLarge, 0},
		{"endless 100", flood("", "HTTP/1.1 100 Continue\r\n\r\n"), webhook.ResponseHeadersTooLarge, 0},
		{"empty reply", answer(""), webhook.ConnectionReset, 0},
		{"closed before the request is read", func(net.Conn) {}, webhook.ConnectionReset, 0},
		{"reset", func(c net.Conn) {
			_ = readRequest(bufio.NewReader(c))
			_ = c.(*net.TCPConn).SetLinger(0)
		}, webhook.ConnectionReset, 0},
		{"cut in the status line", answer("HTTP/1.1 2"), webhook.InvalidResponse, 0},
		{"cut in a header", answer("HTTP/1.1 200 OK\r\nContent-"), webhook.InvalidResponse, 0},
		{"cut between headers", answer("HTTP/1.1 200 OK\r\nA: b\r\n"), webhook.ConnectionReset, 0},
		{"not HTTP", answer("SSH-2.0-OpenSSH_9.2\r\n"), webhook.InvalidResponse, 0},
		{"bad status", answer("HTTP/1.1 abc\r\n\r\n"), webhook.InvalidResponse, 0},
		{"bad header", answer("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), webhook.InvalidResponse, 0},
		{"bad content length", answer("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), webhook.InvalidResponse, 0},
		{"two content lengths", answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), webhook.InvalidResponse, 0},
		{"switching protocols", answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), webhook.UnexpectedStatus, 101},
		{"gone", answer("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"), webhook.Gone, 410},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, tt.handle)
			got := send(t, p.url)
			wantReason(t, got, tt.reason)
			if got.StatusCode != tt.status || !got.Sent {
				t.Errorf("got %+v", got)
			}
			if n := p.accepted.Load(); n != 1 {
				t.Errorf("%d connections for one Send", n)
			}
		})
	}
}

func TestResponseHeadersUpTo64KiB(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]webhook.Reason{63 << 10: "", 65 << 10: webhook.ResponseHeadersTooLarge} {
		got := send(t, newPeer(t, answer("HTTP/1.1 204 No Content\r\nX-A: "+strings.Repeat("a", size)+"\r\n\r\n")).url)
		wantReason(t, got, want)
	}
}

func TestSuccessIsDecidedByTheHeadersAlone(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, answer, body string }{
		{"body cut", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", "abc"},
		{"no body at all", "HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n", ""},
		{"chunk cut", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "ab"},
		{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := send(t, newPeer(t, answer(tt.answer)).url)
			wantReason(t, got, "")
			if got.Body != tt.body || !got.Truncated {
				t.Errorf("got %q, truncated %v", got.Body, got.Truncated)
			}
		})
	}
}

func TestDripsEndAtTheDeadline(t *testing.T) {
	t.Parallel()
	dripping := func(begin, again string) func(net.Conn) {
		return func(c net.Conn) {
			if readRequest(bufio.NewReader(c)) == nil {
				_, _ = io.WriteString(c, begin)
				drip(c, again, 20*time.Millisecond)
			}
		}
	}
	tests := []struct {
		name   string
		handle func(net.Conn)
		reason webhook.Reason
	}{
		{"header", dripping("HTTP/1.1 200 OK\r\nX-A: ", "a"), webhook.Timeout},
		{"1xx", dripping("", "HTTP/1.1 103 x\r\n\r\n"), webhook.Timeout},
		{"nothing", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, webhook.Timeout},
		{"request never read", func(net.Conn) { <-time.After(2 * time.Second) }, webhook.Timeout},
		{"body of a success", dripping("HTTP/1.1 200 OK\r\n\r\n", "a"), ""},
		{"body after 4 KiB", dripping("HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("a", 5000), "a"), ""},
		{"body of a failure", dripping("HTTP/1.1 500 x\r\n\r\n", "a"), webhook.UnexpectedStatus},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request(newPeer(t, tt.handle).url)
			r.Timeout = time.Second
			got := newSender(t, webhook.Options{}).Send(t.Context(), r)
			wantReason(t, got, tt.reason)
			if got.Took < time.Second || got.Took > 10*time.Second {
				t.Errorf("took %v", got.Took)
			}
			if tt.reason != webhook.Timeout && !got.Truncated {
				t.Error("the body is not marked as truncated")
			}
			if tt.reason == webhook.Timeout && !strings.HasSuffix(got.Error, "while waiting for the answer") {
				t.Errorf("got %q", got.Error)
			}
		})
	}
}

// A receiver that keeps connections open, and hangs up on every other request
// after having read it: each Send is one request, whatever the transport may think.
func TestOneSendIsAtMostOneRequest(t *testing.T) {
	t.Parallel()
	var seen atomic.Int64
	p := newPeer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for readRequest(r) == nil {
			if seen.Add(1)%2 == 0 {
				return
			}
			if _, err := io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return
			}
		}
	})
	sender := newSender(t, webhook.Options{})
	var ok, lost int
	for i := range int64(50) {
		switch got := sender.Send(t.Context(), request(p.url)); got.Reason {
		case "":
			ok++
		case webhook.ConnectionReset:
			lost++
		default:
			t.Errorf("got %+v", got)
		}
		if n := seen.Load(); n != i+1 {
			t.Fatalf("after %d sends the receiver has seen %d requests", i+1, n)
		}
	}
	if ok != 25 || lost != 25 || p.accepted.Load() > 25 {
		t.Errorf("%d delivered, %d lost, %d connections: they were not reused", ok, lost, p.accepted.Load())
	}
}

// A receiver that closes its idle connections loses at most the request that
// crosses the close on the wire; the next one gets a new connection.
func TestClosedIdleConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	p := newPeer(t, answer("HTTP/1.1 204 No Content\r\n\r\n"))
	sender := newSender(t, webhook.Options{})
	var last webhook.Reason
	delivered := int64(0)
	for range 50 {
		got := sender.Send(t.Context(), request(p.url))
		switch {
		case got.Reason == "":
			delivered++
		case got.Reason != webhook.ConnectionReset || last != "":
			t.Errorf("after %q: got %+v", last, got)
		}
		last = got.Reason
	}
	if n := p.accepted.Load(); n != delivered {
		t.Errorf("%d delivered over %d connections", delivered, n)
	}
}
