package webhook_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
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

func BenchmarkSendOnly(b *testing.B) {
	for name, answer := range map[string]string{"no content": noContent, "usual answer": usual} {
		b.Run(name, func(b *testing.B) {
			p := newPeer(b, fixed(answer, len(body)))
			s := newSender(b, webhook.Options{})
			r := request(p.url)
			r.Target = s.Target(r.URL, r.Keys)
			b.ReportAllocs()
			for b.Loop() {
				if got := s.Sender.Send(b.Context(), r.Request); got.Reason != "" {
					b.Fatalf("got %+v", got)
				}
			}
		})
	}
}

func BenchmarkRawPost(b *testing.B) {
	p := newPeer(b, fixed(noContent, len(body)))
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	b.ReportAllocs()
	for b.Loop() {
		req, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, p.url, bytes.NewReader([]byte(body)))
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
