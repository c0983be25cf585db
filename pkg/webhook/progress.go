package webhook

import "sync/atomic"

// phase is how far an attempt has come.
type phase int32

const (
	preparing phase = iota
	resolving
	connecting
	handshaking
	sending // from here on the receiver may have seen something
	waiting
)

// String completes "timed out while …".
func (p phase) String() string {
	switch p {
	case resolving:
		return "resolving the host name"
	case connecting:
		return "connecting"
	case handshaking:
		return "negotiating TLS"
	case sending:
		return "sending the request"
	case waiting:
		return "waiting for the answer"
	default:
		return "waiting for a connection"
	}
}

// progress is told by the transport, on its own goroutines, how far it has come. It
// only moves forward: a dial that lost against an idle connection may go on.
type progress struct{ furthest atomic.Int32 }

func (p *progress) reached() phase { return phase(p.furthest.Load()) }

func (p *progress) reach(to phase) {
	for {
		now := p.furthest.Load()
		if now >= int32(to) || p.furthest.CompareAndSwap(now, int32(to)) {
			return
		}
	}
}
