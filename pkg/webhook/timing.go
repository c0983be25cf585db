package webhook

import (
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync/atomic"
	"time"
)

// Timing is how long the steps of an attempt took, also when they failed. 0: the step
// did not happen, as when the connection was there already, or has not ended.
type Timing struct {
	DNS       time.Duration
	Connect   time.Duration // over all addresses that were tried
	TLS       time.Duration
	FirstByte time.Duration // from having the connection to the first byte of the answer
}

// stopwatch takes the times of an attempt, in nanoseconds since its start. The
// transport tells of a dial on goroutines of its own, which may outlive the attempt.
type stopwatch struct {
	start             time.Time
	dns, connect, tls span
	connected, answer atomic.Int64
	tried             atomic.Pointer[string] // the last address that was dialled

	// Told on the goroutine of the request itself.
	reused bool
	peer   net.Addr
}

// span is a step that may have several tries, of which the first success is the last.
type span struct {
	from, to atomic.Int64
	over     atomic.Bool
}

func (s *span) begin(at int64) { s.from.CompareAndSwap(0, at) }

func (s *span) end(at int64, success bool) {
	if !s.over.Load() {
		s.to.Store(at)
		s.over.Store(success)
	}
}

func (s *span) took() time.Duration { return between(&s.from, &s.to) }

func between(from, to *atomic.Int64) time.Duration {
	begin, end := from.Load(), to.Load()
	if begin == 0 || end < begin {
		return 0
	}
	return time.Duration(max(end-begin, 1))
}

// now is never 0.
func (w *stopwatch) now() int64 { return max(int64(time.Since(w.start)), 1) }

func (w *stopwatch) got(c httptrace.GotConnInfo) {
	w.reused, w.peer = c.Reused, c.Conn.RemoteAddr()
	w.connected.Store(w.now())
}

// timing leaves out the dial that lost against a connection that was idle again.
func (w *stopwatch) timing() Timing {
	t := Timing{FirstByte: between(&w.connected, &w.answer)}
	if !w.reused {
		t.DNS, t.Connect, t.TLS = w.dns.took(), w.connect.took(), w.tls.took()
	}
	return t
}

// address is that of the receiver, or the last that was tried; the zero Addr: none.
func (w *stopwatch) address() netip.Addr {
	if peer, ok := w.peer.(*net.TCPAddr); ok {
		return canonical(peer.AddrPort().Addr())
	}
	if tried := w.tried.Load(); tried != nil {
		if ap, err := netip.ParseAddrPort(*tried); err == nil {
			return canonical(ap.Addr())
		}
	}
	return netip.Addr{}
}
