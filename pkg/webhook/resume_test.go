package webhook_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/webhook"
)

// resuming is a TLS receiver that keeps connections open and hands out sessions. It
// counts full and resumed handshakes, and the bytes that requests brought.
type resuming struct {
	*peer
	full, resumed, received atomic.Int64
}

func newResuming(t testing.TB, cert tls.Certificate, version uint16) *resuming {
	t.Helper()
	r := new(resuming)
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.DidResume {
			r.resumed.Add(1)
		} else {
			r.full.Add(1)
		}
		return nil
	}
	r.peer = newPeer(t, func(raw net.Conn) {
		c := tls.Server(raw, config)
		in := bufio.NewReader(io.TeeReader(c, counter{&r.received}))
		for readRequest(in) == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	return r
}

func (r *resuming) want(t testing.TB, full, resumed int64) {
	t.Helper()
	if r.full.Load() != full || r.resumed.Load() != resumed {
		t.Errorf("%d full handshakes and %d resumed, want %d and %d", r.full.Load(), r.resumed.Load(), full, resumed)
	}
}

func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			p, s := newResuming(t, ca.issue(t, unchanged), version), tlsSender(t, ca)
			for range 3 {
				wantReason(t, s.Send(t.Context(), request(p.https())), "")
				s.CloseIdle()
			}
			p.want(t, 1, 2)
		})
	}
}

// A certificate that has lost its validity is refused although the receiver would
// resume the session that began with it.
func TestResumptionDoesNotOutliveTheCertificate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*x509.Certificate)
		later  time.Duration
	}{
		{"certificate expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(30 * time.Minute) }, 45 * time.Minute},
		{"authority expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(4 * time.Hour) }, 2 * time.Hour},
	}
	for _, tt := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tt.name+", "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				ca := newAuthority(t)
				p, s := newResuming(t, ca.issue(t, tt.change), version), tlsSender(t, ca)
				var later atomic.Int64
				s.SetClock(func() time.Time { return time.Now().Add(time.Duration(later.Load())) })
				for range 2 {
					wantReason(t, s.Send(t.Context(), request(p.https())), "")
					s.CloseIdle()
				}
				p.want(t, 1, 1)
				later.Store(int64(tt.later))
				before := p.received.Load()
				got := s.Send(t.Context(), request(p.https()))
				wantReason(t, got, webhook.TLSExpired)
				if got.Sent || p.received.Load() != before || p.resumed.Load() != 1 {
					t.Errorf("sent %v, %d bytes, %d sessions resumed", got.Sent, p.received.Load()-before, p.resumed.Load())
				}
			})
		}
	}
}

// The session of one name is no use for another at the same address, whose
// certificate would be refused.
func TestSessionsBelongToOneHostName(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			p, s := newResuming(t, ca.issue(t, unchanged), version), tlsSender(t, ca)
			wantReason(t, s.Send(t.Context(), request(p.https())), "")
			before := p.received.Load()
			got := s.Send(t.Context(), request(fmt.Sprintf("https://other.example.com:%d/hook", p.addr.Port())))
			wantReason(t, got, webhook.TLSHostname)
			if got.Sent || p.received.Load() != before || p.resumed.Load() != 0 {
				t.Errorf("sent %v, %d bytes, %d sessions resumed", got.Sent, p.received.Load()-before, p.resumed.Load())
			}
		})
	}
}

// Whoever takes over a host name gets a full handshake with the usual checks: the
// sessions of the former host are worth nothing to it.
func TestSessionOfAFormerHostIsNotEnough(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	s := tlsSender(t, ca)
	former := newResuming(t, ca.issue(t, unchanged), tls.VersionTLS13)
	wantReason(t, s.Send(t.Context(), request(former.https())), "")
	taken := newResuming(t, stranger.issue(t, unchanged), tls.VersionTLS13) // the same name on another port: one key of the cache
	got := s.Send(t.Context(), request(taken.https()))
	wantReason(t, got, webhook.TLSUntrusted)
	if got.Sent || taken.received.Load() != 0 || taken.resumed.Load() != 0 || strings.Contains(got.Error, "127.0.0.1") {
		t.Errorf("got %+v", got)
	}
}
