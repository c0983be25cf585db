package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"
)

// attempt is all that one Send needs of its own, in one piece of memory. It is never
// used for another: the transport, or a dial that goes on after its request has
// found an idle connection, may still hold it when Send has returned. It is the
// context of its request, so that the dialler finds it.
type attempt struct {
	context.Context
	progress
	stopwatch
	trace  httptrace.ClientTrace
	body   bytes.Reader
	values headerValues
}

type attemptKey struct{}

// Value makes the attempt itself known to the dialler.
func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// request builds the request directly, from parts that the target has ready;
// http.NewRequest would parse the URL again.
func (a *attempt) request(r Request, now time.Time) *http.Request {
	// There is no Got1xxResponse: with it, the transport would stop counting the
	// bytes of 1xx answers.
	a.trace.TLSHandshakeStart = a.tlsHandshakeStart
	a.trace.TLSHandshakeDone = a.tlsHandshakeDone
	a.trace.GotConn = a.gotConn
	a.trace.WroteRequest = a.wroteRequest
	a.trace.GotFirstResponseByte = a.gotFirstByte
	a.body.Reset(r.Body)
	req := &http.Request{
		Method: http.MethodPost, URL: r.Target.url, Host: r.Target.url.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: headers(r, now, &a.values), Body: http.NoBody,
	}
	if len(r.Body) > 0 {
		// The transport knows this type to be in memory: headers and body go out together.
		req.Body, req.ContentLength = io.NopCloser(&a.body), int64(len(r.Body))
		// The transport uses GetBody for one thing only, as long as there is no
		// Idempotency-Key header: to send on another connection when the receiver had
		// closed the idle one and not a byte was written to it.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
	}
	return req.WithContext(httptrace.WithClientTrace(a, &a.trace))
}

// Told by the transport. Its trace of a look-up and of a connect costs more than the
// others, so only a dial sets it up; see dialing.
func (a *attempt) wroteRequest(httptrace.WroteRequestInfo) { a.reach(waiting) }
func (a *attempt) gotFirstByte()                           { a.answer.Store(a.now()) }

func (a *attempt) tlsHandshakeStart() {
	a.reach(handshaking)
	a.tls.begin(a.now())
}

func (a *attempt) tlsHandshakeDone(_ tls.ConnectionState, err error) {
	a.tls.end(a.now(), err == nil)
}

func (a *attempt) gotConn(c httptrace.GotConnInfo) {
	a.reach(sending)
	a.got(c)
}

// dialing wraps the dialler so that it reports to the attempt that caused the dial.
func dialing(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
			ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
				DNSStart: func(httptrace.DNSStartInfo) {
					a.reach(resolving)
					a.dns.begin(a.now())
				},
				DNSDone: func(i httptrace.DNSDoneInfo) { a.dns.end(a.now(), i.Err == nil) },
				ConnectStart: func(_, address string) {
					a.reach(connecting)
					a.tried.Store(&address)
					a.connect.begin(a.now())
				},
				ConnectDone: func(_, _ string, err error) { a.connect.end(a.now(), err == nil) },
			})
		}
		return dial(ctx, network, address)
	}
}
