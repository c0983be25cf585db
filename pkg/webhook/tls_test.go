package webhook_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/webhook"
)

const tlsHost = "hooks.example.com"

// authority is a certificate authority of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate as PEM
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newECKey(t), file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a server certificate for tlsHost, after change; signed by itself when
// a is nil.
func (a *authority) issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := newECKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{tlsHost}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	change(template)
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tlsPeer answers 204 over TLS and counts the bytes that requests brought.
func tlsPeer(t testing.TB, config *tls.Config) (p *peer, received *atomic.Int64) {
	t.Helper()
	received = new(atomic.Int64)
	return newPeer(t, func(raw net.Conn) {
		c := tls.Server(raw, config)
		r := bufio.NewReader(io.TeeReader(c, counter{received}))
		if readRequest(r) == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			_ = c.Close()
		}
	}), received
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

func tlsSender(t testing.TB, ca *authority) sender {
	t.Helper()
	_, resolver := newNameServer(t, "127.0.0.1")
	p := loopback()
	p.Resolver = resolver
	return newSender(t, webhook.Options{Guard: webhook.NewGuard(p), CAFile: ca.file})
}

func (p *peer) https() string { return fmt.Sprintf("https://%s:%d/hook", tlsHost, p.addr.Port()) }

func unchanged(*x509.Certificate) {}

func TestBadCertificatesGetNoRequest(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	with := func(a *authority, change func(*x509.Certificate)) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{a.issue(t, change)}}
	}
	upTo := func(version uint16) *tls.Config {
		config := with(ca, unchanged)
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, version
		return config
	}
	tests := []struct {
		name   string
		config *tls.Config
		reason webhook.Reason
	}{
		{"good", with(ca, unchanged), ""},
		{"TLS 1.2", upTo(tls.VersionTLS12), ""},
		{"expired", with(ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), webhook.TLSExpired},
		{"not valid yet", with(ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), webhook.TLSExpired},
		{"wrong host", with(ca, func(c *x509.Certificate) { c.DNSNames = []string{"other.example.com"} }), webhook.TLSHostname},
		{"common name only", with(ca, func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, tlsHost }), webhook.TLSHostname},
		{"self-signed", with(nil, unchanged), webhook.TLSUntrusted},
		{"unknown authority", with(stranger, unchanged), webhook.TLSUntrusted},
		{"for clients only", with(ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), webhook.TLSUntrusted},
		{"TLS 1.1 only", upTo(tls.VersionTLS11), webhook.TLSProtocol},
		{"TLS 1.0 only", upTo(tls.VersionTLS10), webhook.TLSProtocol},
		{"no certificate", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }}, webhook.TLS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, received := tlsPeer(t, tt.config)
			got := tlsSender(t, ca).Send(t.Context(), request(p.https()))
			wantReason(t, got, tt.reason)
			if sent := tt.reason == ""; got.Sent != sent || (received.Load() > 0) != sent {
				t.Errorf("sent %v, the receiver got %d bytes", got.Sent, received.Load())
			}
		})
	}
}

func TestOtherHandshakeFailures(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	tests := []struct {
		name   string
		handle func(net.Conn)
		reason webhook.Reason
	}{
		{"plain HTTP", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, webhook.TLS},
		{"not TLS", func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH\r\n"); _, _ = io.Copy(io.Discard, c) }, webhook.TLS},
		{"old server that ignores the client's versions", func(c net.Conn) {
			// A ServerHello of TLS 1.1: record, handshake type 2, version 0302, random, no session, cipher c013, no compression.
			_, _ = io.WriteString(c, "\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02"+strings.Repeat("r", 32)+"\x00\xc0\x13\x00")
			_, _ = io.Copy(io.Discard, c)
		}, webhook.TLSProtocol},
		{"closed", func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 50)) }, webhook.ConnectionReset},
		{"stalled", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, webhook.Timeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request(newPeer(t, tt.handle).https())
			r.Timeout = time.Second
			if tt.reason != webhook.Timeout {
				r.Timeout = 20 * time.Second
			}
			got := tlsSender(t, ca).Send(t.Context(), r)
			wantReason(t, got, tt.reason)
			if got.Sent || got.Took > 15*time.Second {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// The deadline of the attempt may be long; the handshake has a limit of its own.
func TestStalledHandshakeEndsAtItsOwnLimit(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	r := request(p.https())
	r.Timeout = 30 * time.Second
	got := tlsSender(t, newAuthority(t)).Send(t.Context(), r)
	wantReason(t, got, webhook.Timeout)
	if got.Sent || got.Took > 20*time.Second || !strings.HasSuffix(got.Error, "while negotiating TLS") {
		t.Errorf("got %+v", got)
	}
}

func TestSpeaksHTTP11Only(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	var offered atomic.Value
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, unchanged)}, NextProtos: []string{"h2", "http/1.1"}}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		offered.Store(strings.Join(hello.SupportedProtos, " ") + "|" + hello.ServerName)
		return nil, nil
	}
	p, _ := tlsPeer(t, config)
	wantReason(t, tlsSender(t, ca).Send(t.Context(), request(p.https())), "")
	if got := offered.Load(); got != "http/1.1|"+tlsHost && got != "|"+tlsHost {
		t.Errorf("offered %v", got)
	}
}
