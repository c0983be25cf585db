package webhook_test

import (
	"bytes"
	"net"
	"testing"

	"github.com/sonicus/webhooks/pkg/webhook"
)

// fixed answers every request on a connection with the same bytes, and allocates
// nothing for it, so that what is counted is the sender's.
func fixed(answer string, bodySize int) func(net.Conn) {
	return func(c net.Conn) {
		buf, reply, have := make([]byte, 64<<10), []byte(answer), 0
		for {
			n, err := c.Read(buf[have:])
			have += n
			if err != nil {
				return
			}
			if i := bytes.Index(buf[:have], []byte("\r\n\r\n")); i < 0 || have < i+4+bodySize {
				continue
			}
			have = 0
			if _, err := c.Write(reply); err != nil {
				return
			}
		}
	}
}

const (
	noContent = "HTTP/1.1 204 No Content\r\n\r\n"
	usual     = "HTTP/1.1 200 OK\r\nDate: Thu, 07 Aug 2025 16:20:52 GMT\r\nContent-Type: application/json\r\n" +
		"Content-Length: 15\r\nServer: nginx\r\nX-Request-Id: 0198b5a4\r\n\r\n" + `{"status":"ok"}`
)

// A Send allocated 102 and 127 times before there were Targets. Nearly 40 of what is
// left are net/http's own. The bounds leave a third for other versions of Go, and for
// the race detector, under which pools drop some of what they are given.
func TestSendAllocatesLittle(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		bound        float64
	}{{"no content", noContent, 68}, {"usual answer", usual, 90}} {
		t.Run(tt.name, func(t *testing.T) {
			s, r := prepared(t, tt.answer)
			allocs := testing.AllocsPerRun(500, func() {
				if got := s.Send(t.Context(), r); got.Reason != "" {
					t.Fatalf("got %+v", got)
				}
			})
			t.Logf("%.0f allocations", allocs)
			if allocs > tt.bound {
				t.Errorf("more than %.0f", tt.bound)
			}
		})
	}
}

func prepared(t testing.TB, answer string) (*webhook.Sender, webhook.Request) {
	t.Helper()
	s, r := newSender(t, webhook.Options{}), request(newPeer(t, fixed(answer, len(body))).url)
	r.Target = s.Target(r.URL, r.Keys)
	return s.Sender, r.Request
}

// BenchmarkSend counts the sender's allocations only.
func BenchmarkSend(b *testing.B) {
	for name, answer := range map[string]string{"no content": noContent, "usual answer": usual} {
		b.Run(name, func(b *testing.B) {
			s, r := prepared(b, answer)
			b.ReportAllocs()
			for b.Loop() {
				if got := s.Send(b.Context(), r); got.Reason != "" {
					b.Fatalf("got %+v", got)
				}
			}
		})
	}
}
