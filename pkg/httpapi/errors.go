package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/problem"
)

// document is the body of every error (RFC 9457).
type document struct {
	Type      string          `json:"type"`
	Title     string          `json:"title"`
	Status    int             `json:"status"`
	Detail    string          `json:"detail"`
	Code      string          `json:"code"`
	Errors    []problem.Field `json:"errors"`
	RequestID string          `json:"request_id"`
}

// problemOf decides what the caller gets to see of an error. What is not
// recognized is internal: logged in full, shown without any detail.
func problemOf(err error) *problem.Error {
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return p
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return fromRouter(e)
	}
	if errors.Is(err, context.Canceled) { // the caller hung up, or the process is being stopped
		return problem.Unavailable("canceled", "The request ended before its answer; nothing was changed.", err)
	}
	return problem.Internal(err)
}

// fromRouter translates what echo itself answers.
func fromRouter(e *echo.HTTPError) *problem.Error {
	switch e.Code {
	case http.StatusNotFound:
		return problem.NotFound("path")
	case http.StatusMethodNotAllowed:
		return problem.MethodNotAllowed()
	default:
		return problem.Internal(e)
	}
}

func statusOf(k problem.Kind) int {
	switch k {
	case problem.KindMalformed:
		return http.StatusBadRequest
	case problem.KindUnauthenticated:
		return http.StatusUnauthorized
	case problem.KindForbidden:
		return http.StatusForbidden
	case problem.KindNotFound:
		return http.StatusNotFound
	case problem.KindMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case problem.KindConflict:
		return http.StatusConflict
	case problem.KindPreconditionFailed:
		return http.StatusPreconditionFailed
	case problem.KindTooLarge:
		return http.StatusRequestEntityTooLarge
	case problem.KindUnsupportedMedia:
		return http.StatusUnsupportedMediaType
	case problem.KindInvalid:
		return http.StatusUnprocessableEntity
	case problem.KindTooMany:
		return http.StatusTooManyRequests
	case problem.KindUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// sendProblem answers with p, unless an answer is already on its way.
func sendProblem(c echo.Context, p *problem.Error) {
	if c.Response().Committed {
		return
	}
	h := c.Response().Header()
	if p.Kind == problem.KindUnauthenticated {
		h.Set(echo.HeaderWWWAuthenticate, "Bearer")
	}
	if p.RetryAfter > 0 {
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	status := statusOf(p.Kind)
	d := document{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: p.Detail, Code: p.Code,
		Errors: p.Fields, RequestID: h.Get(echo.HeaderXRequestID),
	}
	if d.Errors == nil {
		d.Errors = []problem.Field{}
	}
	body, _ := encode(d)                                  // texts always encode
	_ = send(c, status, "application/problem+json", body) // the caller hung up; nobody is left to tell
}

// faultAttrs says what went wrong. The cause of a refusal that is the caller's
// own doing is in its code; its text may repeat what the caller sent.
func faultAttrs(err error) []slog.Attr {
	p, ok := errors.AsType[*problem.Error](err)
	if !ok {
		return nil
	}
	attrs := []slog.Attr{slog.String("code", p.Code)}
	if p.Err != nil {
		attrs = append(attrs, slog.Any("error", p.Err))
	}
	return attrs
}
