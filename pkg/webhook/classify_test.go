package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReasonOfEveryStatus(t *testing.T) {
	t.Parallel()
	for status := range 1000 {
		want := UnexpectedStatus
		switch {
		case status >= 200 && status < 300:
			want = ""
		case status >= 300 && status < 400:
			want = Redirect
		case status == 410:
			want = Gone
		}
		if got := fromStatus(status); got != want {
			t.Errorf("%d: got %q, want %q", status, got, want)
		}
	}
}

func TestReasonOfErrors(t *testing.T) {
	t.Parallel()
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	read := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
	}
	alert := func(text string) error { return &net.OpError{Op: "remote error", Err: errors.New(text)} }
	cert := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	broken := func(err error) error { return fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err) }
	dns := &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}
	slowDNS := &net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}
	canceled, late := context.Canceled, context.DeadlineExceeded
	tests := []struct {
		name    string
		err     error
		ended   error
		reached phase
		want    Reason
	}{
		{"guard", refuse(CodeBlockedAddress, "x"), nil, connecting, BlockedAddress},
		{"guard, inside a dial error", &net.OpError{Op: "dial", Err: refuse(CodeBlockedAddress, "x")}, nil, connecting, BlockedAddress},
		{"guard, after the deadline", refuse(CodeBlockedPort, "x"), late, preparing, BlockedAddress},
		{"deadline", late, late, waiting, Timeout},
		{"deadline while reading", read(syscall.ECONNRESET), late, waiting, Timeout},
		{"deadline while resolving", slowDNS, late, resolving, Timeout},
		{"canceled", canceled, canceled, waiting, Canceled},
		{"canceled while dialling", dial(syscall.ECONNREFUSED), canceled, connecting, Canceled},
		{"no such host", &net.OpError{Op: "dial", Err: dns}, nil, resolving, DNS},
		{"name server silent", &net.OpError{Op: "dial", Err: slowDNS}, nil, resolving, DNS},
		{"connect limit", dial(os.ErrDeadlineExceeded), nil, connecting, Timeout},
		{"connect timeout of the kernel", dial(syscall.ETIMEDOUT), nil, connecting, Timeout},
		{"expired", cert(x509.CertificateInvalidError{Reason: x509.Expired}), nil, handshaking, TLSExpired},
		{"wrong host", cert(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}), nil, handshaking, TLSHostname},
		{"unknown authority", cert(x509.UnknownAuthorityError{}), nil, handshaking, TLSUntrusted},
		{"wrong usage", cert(x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}), nil, handshaking, TLSUntrusted},
		{"no system roots", cert(x509.SystemRootsError{}), nil, handshaking, TLSUntrusted},
		{"version alert", alert("tls: protocol version not supported"), nil, handshaking, TLSProtocol},
		{"version chosen by the server", errors.New("tls: server selected unsupported protocol version 302"), nil, handshaking, TLSProtocol},
		{"handshake alert", alert("tls: handshake failure"), nil, handshaking, TLS},
		{"plain HTTP", errors.New("http: server gave HTTP response to HTTPS client"), nil, handshaking, TLS},
		{"client certificate demanded", alert("tls: certificate required"), nil, waiting, TLS},
		{"closed in the handshake", io.EOF, nil, handshaking, ConnectionReset},
		{"reset in the handshake", read(syscall.ECONNRESET), nil, handshaking, ConnectionReset},
		{"nobody listens", dial(syscall.ECONNREFUSED), nil, connecting, ConnectionRefused},
		{"no route", dial(syscall.EHOSTUNREACH), nil, connecting, Network},
		{"no network", dial(syscall.ENETUNREACH), nil, connecting, Network},
		{"no more files", dial(syscall.EMFILE), nil, connecting, Network},
		{"reset", read(syscall.ECONNRESET), nil, waiting, ConnectionReset},
		{"broken pipe", broken(read(syscall.EPIPE)), nil, sending, ConnectionReset},
		{"empty reply", io.EOF, nil, waiting, ConnectionReset},
		{"cut", broken(io.ErrUnexpectedEOF), nil, waiting, ConnectionReset},
		{"idle connection closed", errors.New("http: server closed idle connection"), nil, waiting, ConnectionReset},
		{"headers too large", errors.New("net/http: server response headers exceeded 65536 bytes; aborted"), nil, waiting, ResponseHeadersTooLarge},
		{"malformed", broken(errors.New(`malformed HTTP status code "abc"`)), nil, waiting, InvalidResponse},
		{"proxy refuses", errors.New("Forbidden"), nil, connecting, Network},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := fromError(tt.err, tt.ended, tt.reached)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if said := explain(got, 0, tt.reached, time.Second, tt.err); said == "" {
				t.Error("no sentence")
			}
		})
	}
}

func TestSentencesForPeople(t *testing.T) {
	t.Parallel()
	route := &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(10, 9, 8, 7), Port: 443}, Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
	tests := []struct {
		reason  Reason
		status  int
		reached phase
		err     error
		want    string
	}{
		{"", 200, waiting, nil, ""},
		{Timeout, 0, waiting, context.DeadlineExceeded, "timed out after 10s while waiting for the answer"},
		{Timeout, 0, preparing, context.DeadlineExceeded, "timed out after 10s while waiting for a connection"},
		{Redirect, 302, waiting, nil, "receiver answered 302, redirects are not followed"},
		{Gone, 410, waiting, nil, "receiver answered 410, it wants no more deliveries"},
		{UnexpectedStatus, 503, waiting, nil, "receiver answered 503"},
		{BlockedAddress, 0, connecting, refuse(CodeBlockedPort, "the port is not allowed"), "target refused: url: the port is not allowed"},
		{BlockedAddress, 0, connecting, nil, "target refused: the host is not a public address"},
		{Network, 0, connecting, route, "network error while connecting: no route to host"},
		{Network, 0, sending, errors.New("secret text"), "network error while sending the request"},
	}
	for _, tt := range tests {
		if got := explain(tt.reason, tt.status, tt.reached, 10*time.Second+20*time.Millisecond, tt.err); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 8, 7, 16, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := []struct {
		name, value, date string
		want              time.Duration
	}{
		{"absent", "", "", 0},
		{"seconds", "120", "", 2 * time.Minute},
		{"zero", "0", "", 0},
		{"leading zeros", "0060", "", time.Minute},
		{"a day", "86400", "", 24 * time.Hour},
		{"more than a day", "86401", "", 24 * time.Hour},
		{"ten years", "315360000", "", 24 * time.Hour},
		{"does not fit in 64 bits", strings.Repeat("9", 40), "", 24 * time.Hour},
		{"negative", "-5", "", 0},
		{"plus sign", "+5", "", 0},
		{"fraction", "1.5", "", 0},
		{"unit", "5s", "", 0},
		{"junk", "soon", "", 0},
		{"date, by this clock", date(time.Hour), "", time.Hour},
		{"date, by the receiver's clock", date(time.Hour), date(50 * time.Minute), 10 * time.Minute},
		{"date, other clock unreadable", date(time.Hour), "junk", time.Hour},
		{"date in the past", date(-time.Hour), "", 0},
		{"date ten years ahead", date(87600 * time.Hour), "", 24 * time.Hour},
		{"date in the year 9999", "Fri, 31 Dec 9999 23:59:59 GMT", "", 24 * time.Hour},
		{"date in the oldest form", "Thu Aug  7 17:00:00 2025", "", time.Hour},
		{"date without a zone", "Thu, 07 Aug 2025 17:00:00", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			if tt.value != "" {
				h.Set("Retry-After", tt.value)
			}
			if tt.date != "" {
				h.Set("Date", tt.date)
			}
			if got := retryAfter(h, now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTimeoutIsBounded(t *testing.T) {
	t.Parallel()
	for asked, want := range map[time.Duration]time.Duration{
		-1: DefaultTimeout, 0: DefaultTimeout, time.Second: time.Second, MaxTimeout: MaxTimeout, time.Hour: MaxTimeout,
	} {
		if got := timeout(asked); got != want {
			t.Errorf("%v: got %v", asked, got)
		}
	}
}
