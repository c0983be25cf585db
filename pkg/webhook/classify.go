package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/sonicus/webhooks/pkg/problem"
)

// Parts of errors for which net/http and crypto/tls have no type. Tests with real
// peers notice when they change.
const (
	textHeadersTooLarge = "server response headers exceeded"
	textClosedIdle      = "server closed idle connection"
	textTLSVersion      = "protocol version"
)

// fromStatus says why an answer with this status is a failure; empty for 2xx.
func fromStatus(code int) Reason {
	switch {
	case code >= 200 && code <= 299:
		return ""
	case code >= 300 && code <= 399:
		return Redirect
	case code == 410:
		return Gone
	default:
		return UnexpectedStatus
	}
}

// fromError says why there was no answer. ended is the error of the attempt's
// context: what fails after its end failed because of it.
func fromError(err, ended error, reached phase) Reason {
	if _, ok := errors.AsType[*problem.Error](err); ok {
		return BlockedAddress
	}
	switch {
	case errors.Is(err, errForeignTarget):
		return Internal
	case errors.Is(ended, context.Canceled):
		return Canceled
	case errors.Is(ended, context.DeadlineExceeded):
		return Timeout
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return DNS
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return Timeout
	}
	if reason := fromCertificate(err); reason != "" {
		return reason
	}
	return fromConnection(err, reached)
}

// fromCertificate recognises what is wrong with a certificate, if anything.
func fromCertificate(err error) Reason {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		return ""
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return TLSHostname
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return TLSExpired
	}
	return TLSUntrusted
}

func fromConnection(err error, reached phase) Reason {
	op, isOp := errors.AsType[*net.OpError](err)
	alert := isOp && (op.Op == "remote error" || op.Op == "local error") // how crypto/tls reports alerts
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectionRefused
	case isClosed(err):
		return ConnectionReset
	case (alert || reached == handshaking) && strings.Contains(err.Error(), textTLSVersion):
		return TLSProtocol
	case alert || reached == handshaking:
		return TLS
	case strings.Contains(err.Error(), textHeadersTooLarge):
		return ResponseHeadersTooLarge
	case reached >= sending && !isOp:
		return InvalidResponse
	default:
		return Network
	}
}

func isClosed(err error) bool {
	for _, kind := range []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return strings.Contains(err.Error(), textClosedIdle)
}

// explain says it in a sentence. It quotes nothing of err but the operating
// system's words for an error number: other texts hold addresses or what the
// receiver sent.
func explain(reason Reason, status int, reached phase, took time.Duration, err error) string {
	switch reason {
	case "":
		return ""
	case Timeout:
		return fmt.Sprintf("timed out after %s while %s", took.Round(100*time.Millisecond), reached)
	case Redirect:
		return fmt.Sprintf("receiver answered %d, redirects are not followed", status)
	case Gone:
		return "receiver answered 410, it wants no more deliveries"
	case UnexpectedStatus:
		return fmt.Sprintf("receiver answered %d", status)
	case BlockedAddress:
		if p, ok := errors.AsType[*problem.Error](err); ok {
			return "target refused: " + p.Detail
		}
	case Network:
		if number, ok := errors.AsType[syscall.Errno](err); ok {
			return fmt.Sprintf("network error while %s: %s", reached, number.Error())
		}
		return fmt.Sprintf("network error while %s", reached)
	}
	return sentences[reason]
}

var sentences = map[Reason]string{
	Canceled:                "canceled before the receiver had answered",
	DNS:                     "the host name could not be resolved",
	BlockedAddress:          "target refused: the host is not a public address",
	ConnectionRefused:       "connection refused: nobody listens on that port",
	ConnectionReset:         "the receiver closed the connection before it had answered",
	TLSExpired:              "the receiver's certificate has expired or is not valid yet",
	TLSHostname:             "the receiver's certificate is for another host name",
	TLSUntrusted:            "the receiver's certificate is not from a trusted authority",
	TLSProtocol:             "the receiver does not speak TLS 1.2 or 1.3",
	TLS:                     "the TLS handshake failed",
	ResponseHeadersTooLarge: "the response headers are larger than 64 KiB",
	InvalidResponse:         "the receiver's answer is not HTTP",
	Internal:                "internal error while sending",
}
