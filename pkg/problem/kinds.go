package problem

import (
	"fmt"
	"time"
)

// Invalid reports values that are not acceptable. With exactly one field the
// error takes that field's code and names it, so that callers can switch on code.
func Invalid(fields ...Field) *Error {
	e := &Error{Kind: KindInvalid, Code: CodeValidationFailed, Detail: "The request is not valid.", Fields: fields}
	switch {
	case len(fields) == 1:
		e.Code, e.Detail = fields[0].Code, fields[0].Field+": "+fields[0].Detail
	case len(fields) > 1:
		e.Detail = fmt.Sprintf("%d values are not valid; the first is %s: %s", len(fields), fields[0].Field, fields[0].Detail)
	}
	return e
}

// Conflict reports a value that collides with what is stored. An empty field
// means the request as a whole.
func Conflict(code, field, detail string) *Error {
	e := &Error{Kind: KindConflict, Code: code, Detail: detail}
	if field != "" {
		e.Fields = []Field{{Field: field, Code: code, Detail: detail}}
	}
	return e
}

// Malformed reports a body that cannot be read, for example with code "invalid_json".
func Malformed(code, detail string) *Error {
	return &Error{Kind: KindMalformed, Code: code, Detail: detail}
}

// NotFound reports that what ("organization") does not exist for this caller.
func NotFound(what string) *Error {
	return &Error{Kind: KindNotFound, Code: "not_found", Detail: "There is no such " + what + "."}
}

// Unauthenticated reports absent or bad credentials, never which of the two.
func Unauthenticated() *Error {
	return &Error{Kind: KindUnauthenticated, Code: "unauthenticated", Detail: "A valid bearer token is required."}
}

// Forbidden reports a known caller who may not do this.
func Forbidden(detail string) *Error {
	return &Error{Kind: KindForbidden, Code: "forbidden", Detail: detail}
}

// MethodNotAllowed reports a known path with another method.
func MethodNotAllowed() *Error {
	return &Error{Kind: KindMethodNotAllowed, Code: "method_not_allowed", Detail: "This method is not allowed here."}
}

// PreconditionFailed reports that what was to be changed is not as the caller saw it.
func PreconditionFailed(detail string) *Error {
	return &Error{Kind: KindPreconditionFailed, Code: "precondition_failed", Detail: detail}
}

// TooLarge reports a body, or what would follow from it, over a limit.
func TooLarge(detail string) *Error {
	return &Error{Kind: KindTooLarge, Code: "too_large", Detail: detail}
}

// UnsupportedMedia reports a body in a form that the service does not read.
func UnsupportedMedia(detail string) *Error {
	return &Error{Kind: KindUnsupportedMedia, Code: "unsupported_media_type", Detail: detail}
}

// TooMany reports a rate limit; after is when the next request may succeed.
func TooMany(after time.Duration, detail string) *Error {
	return &Error{Kind: KindTooMany, Code: "rate_limited", Detail: detail, RetryAfter: after}
}

// Unavailable reports something that may work later. RetryAfter is one second;
// the caller may change it. err is the cause for the logs.
func Unavailable(code, detail string, err error) *Error {
	return &Error{Kind: KindUnavailable, Code: code, Detail: detail, RetryAfter: time.Second, Err: err}
}

// Internal hides err from the caller behind a sentence without details.
func Internal(err error) *Error {
	return &Error{Kind: KindInternal, Code: "internal", Detail: "Something went wrong on our side.", Err: err}
}
