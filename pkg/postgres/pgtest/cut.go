package pgtest

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
)

// Fate is what becomes of a COMMIT on its way through a cutter.
type Fate int

// The fates: it is answered; its connection is cut before the server has seen it, or
// after the server has done it and before the client hears of that.
const (
	Answered Fate = iota
	Lost
	Unanswered
)

// Once is the fate of the first COMMIT alone.
func Once(f Fate) func(commit int64) Fate {
	return func(commit int64) Fate {
		if commit == 1 {
			return f
		}
		return Answered
	}
}

// NewCutter returns the way to a database through a proxy that cuts connections in the
// middle of a COMMIT; fate is asked for each, numbered from 1. It ends with the test.
func NewCutter(t testing.TB, rawURL string, fate func(commit int64) Fate) string {
	t.Helper()
	target, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	c := &cutter{server: target.Host, fate: fate}
	go c.accept(t.Context(), listener)
	query := target.Query()
	query.Set("sslmode", "disable") // it reads along
	target.Host, target.RawQuery = listener.Addr().String(), query.Encode()
	return target.String()
}

type cutter struct {
	server  string
	fate    func(commit int64) Fate
	commits atomic.Int64
}

func (c *cutter) accept(ctx context.Context, listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go c.relay(ctx, client)
	}
}

// relay passes bytes both ways until one side ends or a COMMIT is cut. lib/pq writes
// every message in one piece and waits for the answer.
func (c *cutter) relay(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", c.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var muted atomic.Bool
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		defer func() { _ = client.Close() }()
		copyEach(server, func(b []byte) bool {
			if muted.Load() {
				return false
			}
			_, err := client.Write(b)
			return err == nil
		})
	}()
	copyEach(client, func(b []byte) bool {
		fate := Answered
		if bytes.Contains(b, []byte("COMMIT\x00")) {
			fate = c.fate(c.commits.Add(1))
		}
		if fate == Lost {
			return false
		}
		muted.Store(fate == Unanswered)
		if _, err := server.Write(b); err != nil {
			return false
		}
		if fate == Unanswered {
			<-answered
		}
		return fate == Answered
	})
}

func copyEach(from net.Conn, pass func([]byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !pass(buffer[:n]) || err != nil {
			return
		}
	}
}
