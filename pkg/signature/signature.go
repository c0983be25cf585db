// Package signature signs and verifies webhook requests. Receivers import it as
// it is: it needs the standard library only.
//
// Every signed request carries two forms, keyed by the same bytes (see
// [DecodeSecret]):
//
//   - X-Sonicus-Signature: "sha256=" and the lower-case hex HMAC-SHA256 of the raw
//     body, as GitHub signs. It says who sent the body, not when: a captured
//     request can be replayed.
//   - webhook-id, webhook-timestamp, webhook-signature, as Standard Webhooks
//     specifies (https://www.standardwebhooks.com): base64 HMAC-SHA256 of
//     "<id>.<timestamp>.<body>". It covers the time of the attempt, and the id stays
//     the same on every retry, so a receiver can refuse replays and duplicates.
//
// A receiver reads the whole body first and verifies those bytes, never a
// re-encoded document. See the example of [Verifier].
package signature

import (
	"strconv"
	"time"
)

// Names of the headers, as they are on the wire.
const (
	HeaderSonicus   = "X-Sonicus-Signature"
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderStandard  = "webhook-signature"
)

const (
	sonicusPrefix  = "sha256="
	standardPrefix = "v1,"
)

// Sonicus returns the value of X-Sonicus-Signature for body: "sha256=" and
// lower-case hex. key is what [DecodeSecret] returned.
func Sonicus(key, body []byte) string { return string(newState(key).sonicus(nil, body)) }

// Standard returns one entry of webhook-signature: "v1," and base64. Entries for
// several keys are joined with a space. at counts in whole seconds. id must not
// contain a full stop, or what is signed would have two readings; [Verifier]
// refuses such an id.
func Standard(key []byte, id string, at time.Time, body []byte) string {
	return standard(key, id, strconv.FormatInt(at.Unix(), 10), body)
}

func standard(key []byte, id, timestamp string, body []byte) string {
	return string(newState(key).standard(nil, id, []byte(timestamp), body))
}
