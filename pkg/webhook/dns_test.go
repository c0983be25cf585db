package webhook_test

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is a DNS server on loopback that gives the same answer to every name.
type nameServer struct {
	conn    net.PacketConn
	queries atomic.Int64

	mu    sync.Mutex
	addrs []netip.Addr     // the answer, with TTL 0
	code  dnsmessage.RCode // instead of an answer
	mute  bool             // never answers
}

// newNameServer starts the server and returns a resolver that asks nobody else.
func newNameServer(t testing.TB, addrs ...string) (*nameServer, *net.Resolver) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn}
	s.set(addrs...)
	done := make(chan struct{})
	go func() { defer close(done); s.serve() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return s, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
		if err == nil { // a look-up goes on in the background after its caller has gone
			context.AfterFunc(t.Context(), func() { _ = c.Close() })
		}
		return c, cmp.Or(err, t.Context().Err())
	}}
}

func (s *nameServer) silence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = true
}

func (s *nameServer) set(addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs = nil
	for _, a := range addrs {
		s.addrs = append(s.addrs, netip.MustParseAddr(a))
	}
}

func (s *nameServer) fail(code dnsmessage.RCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		s.queries.Add(1)
		if reply := s.reply(buf[:n]); reply != nil {
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

func (s *nameServer) reply(query []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var m dnsmessage.Message
	if s.mute || m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.Authoritative, m.RCode, m.Additionals = true, true, s.code, nil
	if s.code == dnsmessage.RCodeSuccess {
		m.Answers = answers(m.Questions[0], s.addrs)
	}
	packed, err := m.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func answers(q dnsmessage.Question, addrs []netip.Addr) (list []dnsmessage.Resource) {
	for _, a := range addrs {
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			r.Body = &dnsmessage.AResource{A: a.As4()}
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		default:
			continue
		}
		list = append(list, r)
	}
	return list
}
