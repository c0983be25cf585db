package e2e_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
)

// proxy passes connections on to a server. Those that it has can become black
// holes, as when a firewall has forgotten them.
type proxy struct {
	listener net.Listener
	server   string
	ctx      context.Context
	running  sync.WaitGroup

	mu    sync.Mutex
	links []*link
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, server: server, ctx: t.Context()}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// accept ends when the proxy is closed.
func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(p.ctx, "tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{client: client, server: server}
		p.mu.Lock()
		p.links = append(p.links, l)
		p.mu.Unlock()
		p.running.Go(func() { l.pump(server, client) })
		p.running.Go(func() { l.pump(client, server) })
	}
}

func (p *proxy) close() {
	_ = p.listener.Close()
	for _, l := range p.all() {
		l.close()
	}
	p.running.Wait()
}

func (p *proxy) all() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*link(nil), p.links...)
}

// swallow makes black holes of the connections there are. New ones are passed on.
func (p *proxy) swallow() {
	for _, l := range p.all() {
		l.mu.Lock()
		l.hole = true
		l.mu.Unlock()
	}
}

// passed counts what the server has said and clients have got.
func (p *proxy) passed(text string) (n int) {
	for _, l := range p.all() {
		l.mu.Lock()
		n += bytes.Count(l.passed, []byte(text))
		l.mu.Unlock()
	}
	return n
}

// lost counts what the server has said into black holes.
func (p *proxy) lost(text string) (n int) {
	for _, l := range p.all() {
		l.mu.Lock()
		n += bytes.Count(l.lost, []byte(text))
		l.mu.Unlock()
	}
	return n
}

// link is a connection through a proxy.
type link struct {
	client, server net.Conn

	mu           sync.Mutex
	hole         bool
	passed, lost []byte // of the server's words
}

// pump copies until one side is closed, which closes the other one too unless
// the link is a black hole.
func (l *link) pump(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		hole := l.note(from, buffer[:n])
		if !hole && err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			if !hole {
				l.close()
			}
			return
		}
	}
}

// note keeps what the server says, and returns whether the link is a black hole.
func (l *link) note(from net.Conn, words []byte) (hole bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case from != l.server:
	case l.hole:
		l.lost = append(l.lost, words...)
	default:
		l.passed = append(l.passed, words...)
	}
	return l.hole
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}
