// Package webhook makes one signed POST, safely. It owns the headers of the
// outgoing request, the guard that keeps it away from addresses that are not
// public, and the limits on time and size of what comes back. It knows no database
// and no retry policy: what a [Result] leads to is decided elsewhere.
//
// What a receiver can do to a sender, and what stops it:
//
//   - Point at this network, directly, by DNS or by a redirect: [Guard] checks the URL
//     when it is stored and the address of every socket; redirects are not followed.
//   - Be slow: one deadline covers everything from DNS to the last byte of the body.
//   - Send too much: 64 KiB of headers, 64 KiB of body, nothing is inflated.
//   - Send what breaks a log or a table: stored text is valid UTF-8 without control characters.
//   - Repeat the request: the values of custom headers are masked in what is kept of the answer.
//   - Make one Send arrive twice: HTTP/1.1 only, and the transport sends again only
//     when it has not written a single byte to a connection that the receiver had closed.
package webhook

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// Request is one attempt to deliver one event to one endpoint.
type Request struct {
	Target     *Target       // made by the same Sender
	EventType  string        // for X-Sonicus-Event
	EventID    uuid.UUID     // for X-Sonicus-Event-ID and webhook-id; the same on every retry
	EventTime  string        // for X-Sonicus-Timestamp, already formatted
	DeliveryID uuid.UUID     // for X-Sonicus-Delivery-ID
	Attempt    int           // for X-Sonicus-Attempt, from 1
	Body       []byte        // sent and signed as it is; not to be changed afterwards
	Timeout    time.Duration // for everything; 0 means 10 s, more than 30 s means 30 s
}

// Result is what became of an attempt.
type Result struct {
	StatusCode int               // of the answer; 0 when none came
	Reason     Reason            // why it failed; empty on 2xx
	Error      string            // the reason as a sentence for people, without secrets or addresses; empty on 2xx
	Headers    map[string]string // some response headers by canonical name, at most 8 KiB; nil when there are none
	Body       string            // the beginning of the response body as text, at most 4 KiB
	Truncated  bool              // the body was longer than Body shows, or ended badly
	StartedAt  time.Time         // when it began, by this host's clock: in seconds, the webhook-timestamp
	Took       time.Duration     // from the call to the end of the body
	Timing     Timing            // of its steps
	Address    netip.Addr        // of the receiver, or the last that was tried; not set: none, or through a proxy
	RetryAfter time.Duration     // what the receiver asked for, at most 24 h; 0: nothing
	Sent       bool              // bytes of the request may have reached the receiver
}

// Reason says why an attempt failed. It is stored and used as a label.
type Reason string

// The reasons. Empty is success: the receiver answered 2xx, whatever became of
// the response's body.
const (
	Timeout                 Reason = "timeout"            // the deadline, or the limit of one of its steps
	Canceled                Reason = "canceled"           // the caller's context ended
	DNS                     Reason = "dns"                // the host name did not resolve
	BlockedAddress          Reason = "blocked_address"    // the guard refused URL, address or port; nothing was sent
	ConnectionRefused       Reason = "connection_refused" // nobody listens
	ConnectionReset         Reason = "connection_reset"   // closed before the answer was complete
	Network                 Reason = "network"            // any other failure of the connection
	TLSExpired              Reason = "tls_expired"        // certificate not valid now
	TLSHostname             Reason = "tls_hostname"       // certificate is for another name
	TLSUntrusted            Reason = "tls_untrusted"      // certificate of an unknown authority, or not for servers
	TLSProtocol             Reason = "tls_protocol"       // no TLS 1.2 or 1.3
	TLS                     Reason = "tls"                // any other failure of the handshake
	ResponseHeadersTooLarge Reason = "response_headers_too_large"
	InvalidResponse         Reason = "invalid_response" // not HTTP
	Redirect                Reason = "redirect"         // 3xx; never followed
	Gone                    Reason = "gone"             // 410
	UnexpectedStatus        Reason = "unexpected_status"
	Internal                Reason = "internal" // a defect on our side
)
