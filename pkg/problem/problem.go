// Package problem owns the errors that a caller of the API may see: a kind, a
// stable code and a sentence. Everything that is not a *Error is internal and
// stays in the logs. The package knows nothing of HTTP; the mapping from kind to
// status lives at the edge.
package problem

import (
	"fmt"
	"time"
)

// Kind says what sort of failure it is. The API turns each kind into one status.
type Kind string

// The kinds, with the HTTP status that the API answers for each.
const (
	KindMalformed          Kind = "malformed"           // 400: the body cannot be read at all
	KindUnauthenticated    Kind = "unauthenticated"     // 401: no or bad credentials
	KindForbidden          Kind = "forbidden"           // 403: known caller, not allowed
	KindNotFound           Kind = "not_found"           // 404: no such thing, or not for this caller
	KindMethodNotAllowed   Kind = "method_not_allowed"  // 405: the path exists, the method does not
	KindConflict           Kind = "conflict"            // 409: collides with what is stored
	KindPreconditionFailed Kind = "precondition_failed" // 412: not the version that the caller has seen
	KindTooLarge           Kind = "too_large"           // 413: the body or what follows from it is too big
	KindUnsupportedMedia   Kind = "unsupported_media"   // 415: not JSON, or compressed
	KindInvalid            Kind = "invalid"             // 422: readable, but a value is not acceptable
	KindTooMany            Kind = "too_many"            // 429: rate limit
	KindInternal           Kind = "internal"            // 500: our fault
	KindUnavailable        Kind = "unavailable"         // 503: try again later
)

// CodeValidationFailed is the code of an Invalid error that has several fields.
const CodeValidationFailed = "validation_failed"

// Field says what is wrong with one value of the request.
type Field struct {
	Field  string `json:"field"`  // JSON path, for example "events[0]"
	Code   string `json:"code"`   // stable, snake_case
	Detail string `json:"detail"` // a sentence for people
}

// Error is an error that may be shown to the caller. Code and Detail never hold
// a secret, SQL or a resolved address; Err does not leave the process.
type Error struct {
	Kind       Kind
	Code       string        // stable, snake_case
	Detail     string        // a sentence for people
	Fields     []Field       // what is wrong where; may be empty
	RetryAfter time.Duration // when to try again; 0 means unknown
	Err        error         // the cause, for logs only; may be nil
}

// Error describes the error for logs, with its cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
