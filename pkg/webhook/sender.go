package webhook

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"time"
)

// Limits on one attempt.
const (
	DefaultTimeout = 10 * time.Second
	MaxTimeout     = 30 * time.Second

	connectLimit   = 5 * time.Second // DNS and TCP together
	handshakeLimit = 5 * time.Second
	maxHeaderBytes = 64 << 10 // also over all 1xx answers together; Go's default of 10 MiB costs 168 MB against a flood of them
	maxReadBody    = 64 << 10
	maxStoredBody  = 4 << 10
)

// Idle connections. Kept for less than the 5 s after which Node.js, the most
// impatient of the common servers, closes its side: a request on a connection that
// is being closed is a lost attempt.
const (
	idleLimit          = 4 * time.Second
	defaultIdle        = 512
	defaultIdlePerHost = 32
)

// Sessions kept for resumption, one per host: a connection that is opened again
// then costs no certificate and half the arithmetic. Receivers choose the size of
// what is kept, 64 KiB and a certificate chain at most.
const maxSessions = 256

var errForeignTarget = errors.New("webhook: the target was made by another Sender")

// Options of a Sender. The zero value is usable and the strictest.
type Options struct {
	Guard       *Guard       // default: NewGuard(Policy{}), public https targets only
	CAFile      string       // PEM file of authorities trusted beside the system's; default none
	Proxy       *url.URL     // http, https or socks5; default none, whatever HTTP_PROXY says. With a proxy the check of resolved addresses is the proxy's job
	Idle        int          // idle connections kept in all; default 512. Set it to the number of attempts in flight
	IdlePerHost int          // idle connections kept per host; default 32. Set it to the number of attempts in flight per endpoint
	Log         *slog.Logger // told of defects only; default none
}

// Sender sends webhooks. It is safe for concurrent use and keeps connections
// open between calls; see CloseIdle.
type Sender struct {
	guard     *Guard
	transport *http.Transport
	proxied   bool
	log       *slog.Logger
}

// NewSender makes a Sender. It fails when the CA file or the system's authorities
// cannot be read, or when the proxy's scheme is unknown.
func NewSender(o Options) (*Sender, error) {
	if o.Guard == nil {
		o.Guard = NewGuard(Policy{})
	}
	roots, err := authorities(o.CAFile)
	if err != nil {
		return nil, err
	}
	s := &Sender{guard: o.Guard, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
	s.transport = newTransport(o, roots)
	if o.Proxy == nil {
		return s, nil
	}
	switch o.Proxy.Scheme {
	case "http", "https", "socks5":
		s.transport.Proxy, s.proxied = http.ProxyURL(o.Proxy), true
		return s, nil
	}
	return nil, fmt.Errorf("webhook: proxy scheme %q is not http, https or socks5", o.Proxy.Scheme)
}

func newTransport(o Options, roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: connectLimit, Resolver: o.Guard.policy.Resolver}
	if o.Proxy == nil { // else every connection goes to the proxy, which the operator chose
		dialer.ControlContext = o.Guard.control
	}
	// HTTP/2 may send a request again by itself (GOAWAY) and put several on one
	// connection; here one Send is one request on the wire.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  nil, // not ProxyFromEnvironment
		DialContext:            dialing(dialer.DialContext),
		TLSClientConfig:        tlsConfig(roots),
		TLSHandshakeTimeout:    handshakeLimit,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConns:           cmp.Or(o.Idle, defaultIdle),
		MaxIdleConnsPerHost:    cmp.Or(o.IdlePerHost, defaultIdlePerHost),
		IdleConnTimeout:        idleLimit,
	}
}

// tlsConfig resumes sessions. That weakens no check: a session belongs to one host
// name, and before it is offered again crypto/tls verifies name, dates and chain of
// the certificate that it began with. There is no early data, which could be replayed.
func tlsConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(maxSessions)}
}

// authorities returns nil, which means the system's, unless a file adds to them.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("webhook: system certificate authorities: %w", err)
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("webhook: certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("webhook: no certificate in %s", file)
	}
	return pool, nil
}

// Guard is what keeps the Sender away from addresses that are not public.
func (s *Sender) Guard() *Guard { return s.guard }

// CloseIdle closes the connections that no Send is using. Later calls open new ones.
func (s *Sender) CloseIdle() { s.transport.CloseIdleConnections() }

// Send makes the request once and reports what became of it; it never panics. It
// returns by r.Timeout, or earlier when ctx ends. The receiver sees the request at
// most once.
func (s *Sender) Send(ctx context.Context, r Request) (result Result) {
	start := time.Now()
	a := new(attempt)
	a.start = start
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything; its type and the stack cannot.
			s.log.ErrorContext(ctx, "webhook send panicked", slog.String("panic", fmt.Sprintf("%T", v)),
				slog.String("delivery_id", r.DeliveryID.String()), slog.String("stack", string(debug.Stack())))
			result = Result{Reason: Internal, Error: explain(Internal, 0, a.reached(), 0, nil)}
		}
		result.StartedAt, result.Took, result.Timing = start, time.Since(start), a.timing()
		if !s.proxied { // else it is the proxy's
			result.Address = a.address()
		}
		result.Sent = a.reached() >= sending
	}()
	limited, cancel := context.WithTimeout(ctx, timeout(r.Timeout))
	defer cancel()
	a.Context = limited
	return s.send(r, start, a)
}

func timeout(asked time.Duration) time.Duration {
	if asked <= 0 {
		return DefaultTimeout
	}
	return min(asked, MaxTimeout)
}

func (s *Sender) send(r Request, start time.Time, a *attempt) Result {
	resp, err := s.roundTrip(r, start, a)
	if err != nil {
		reason := fromError(err, a.Err(), a.reached())
		return Result{Reason: reason, Error: explain(reason, 0, a.reached(), time.Since(start), err)}
	}
	defer func() { _ = resp.Body.Close() }() // the answer is known, whatever Close says
	result := Result{StatusCode: resp.StatusCode, Reason: fromStatus(resp.StatusCode)}
	secrets := r.Target.secrets
	result.Error = secrets.mask(explain(result.Reason, resp.StatusCode, a.reached(), 0, nil), false)
	result.Headers = storedHeaders(resp.Header, secrets)
	result.RetryAfter = retryAfter(resp.Header, time.Now())
	result.Body, result.Truncated = readBody(resp, secrets)
	return result
}

// roundTrip uses the transport itself: an http.Client would add redirects, cookies
// and a second way of timing out.
func (s *Sender) roundTrip(r Request, now time.Time, a *attempt) (*http.Response, error) {
	switch {
	case r.Target.guard != s.guard:
		return nil, errForeignTarget
	case r.Target.refused != nil:
		return nil, r.Target.refused
	}
	return s.transport.RoundTrip(a.request(r, now))
}
