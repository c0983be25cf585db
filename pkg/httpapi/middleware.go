package httpapi

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/problem"
)

const principalKey = "principal"

// observe is around everything: it names the request, answers its errors and
// logs it, one line per request.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		h := c.Response().Header()
		h.Set(echo.HeaderXRequestID, requestID(c.Request().Header.Get(echo.HeaderXRequestID)))
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderCacheControl, "no-store")
		c.Set(cursorsKey, s.cursors)
		err := next(c)
		if err != nil {
			p := problemOf(err)
			err = p
			sendProblem(c, p)
		}
		s.logRequest(c, err, time.Since(start))
		return nil
	}
}

// requestID keeps the caller's id when it is a UUID, so that one id can follow a
// request through several services, and nothing else gets into the logs.
func requestID(given string) string {
	if id, ok := parseID(given); ok {
		return id.String()
	}
	return uuid.NewString()
}

// logRequest leaves out the path and the query as they came: callers put
// secrets there by mistake.
func (s *Server) logRequest(c echo.Context, err error, took time.Duration) {
	status := c.Response().Status
	attrs := []slog.Attr{
		slog.String("method", c.Request().Method),
		slog.String("route", c.Path()),
		slog.Int("status", status),
		slog.Duration("took", took),
		slog.String("request_id", c.Response().Header().Get(echo.HeaderXRequestID)),
		slog.String("remote_ip", c.RealIP()),
	}
	if p, ok := c.Get(principalKey).(access.Principal); ok {
		attrs = append(attrs, slog.String("key_name", p.Name))
	}
	if c.Response().Header().Get(replayedHeader) != "" {
		attrs = append(attrs, slog.Bool("replayed", true))
	}
	s.log.LogAttrs(c.Request().Context(), levelOf(status), "request", append(attrs, faultAttrs(err)...)...)
}

func levelOf(status int) slog.Level {
	switch status {
	case http.StatusInternalServerError:
		return slog.LevelError
	case http.StatusServiceUnavailable, http.StatusUnauthorized, http.StatusForbidden:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// recoverPanic turns a panic of a handler into an error, so that it ends one
// request and not the process.
func recoverPanic(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
			}
		}()
		return next(c)
	}
}

// authenticate asks everyone below the API's root who they are, before anything
// tells them what exists there: paths, methods or ids.
func (s *Server) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !strings.HasPrefix(c.Request().URL.Path, base) {
			return next(c)
		}
		principal, err := s.keys.Authenticate(c.Request().Context(), bearer(c.Request().Header))
		if err != nil {
			return err
		}
		c.Set(principalKey, principal)
		actor := access.Actor{Principal: principal, RequestID: c.Response().Header().Get(echo.HeaderXRequestID)}
		c.SetRequest(c.Request().WithContext(access.WithActor(c.Request().Context(), actor)))
		return next(c)
	}
}

// bearer returns the token of RFC 6750 §2.1, empty when there is none that is
// well-formed. The scheme's case does not matter (RFC 9110 §11.1).
func bearer(h http.Header) string {
	given := h.Values(echo.HeaderAuthorization)
	if len(given) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// require lets through callers whose role is enough. Without a caller nobody is.
func require(role access.Role, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		principal, ok := c.Get(principalKey).(access.Principal)
		if !ok {
			return problem.Unauthenticated()
		}
		if !principal.Role.Allows(role) {
			return problem.Forbidden(fmt.Sprintf("This needs a key with the role %s.", role))
		}
		return next(c)
	}
}
