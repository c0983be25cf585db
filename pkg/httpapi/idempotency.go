package httpapi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/problem"
)

const (
	keyHeader      = "Idempotency-Key"
	replayedHeader = "Idempotent-Replayed"
	maxKey         = 255 // characters
)

// once lets the work of a POST be done once, however often the request comes with the
// same Idempotency-Key: the others get the first answer. The work must be by
// [idempotency.InTx]; without the header nothing is different.
func (s *Server) once(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		given, there := c.Request().Header[keyHeader]
		if !there {
			return next(c)
		}
		request, err := requestOf(c, given)
		if err != nil {
			return err
		}
		end, err := s.answers.Begin(c.Request().Context(), request)
		if err != nil {
			return err
		}
		defer end()
		first, err := s.answers.Find(c.Request().Context(), request)
		if err != nil {
			return err
		}
		if first != nil {
			return replay(c, *first)
		}
		c.SetRequest(c.Request().WithContext(s.answers.With(c.Request().Context(), request)))
		err = next(c)
		if done, ok := errors.AsType[*idempotency.Replayed](err); ok {
			return replay(c, done.Answer)
		}
		return err
	}
}

func replay(c echo.Context, first idempotency.Answer) error {
	c.Response().Header().Set(replayedHeader, "true")
	return reply(c, first)
}

// requestOf tells requests apart. It leaves the body to be read once more.
func requestOf(c echo.Context, given []string) (idempotency.Request, error) {
	if len(given) != 1 || !isKey(given[0]) {
		return idempotency.Request{}, problem.Invalid(problem.Field{
			Field: keyHeader, Code: "invalid_idempotency_key",
			Detail: fmt.Sprintf("give it once, with 1 to %d visible ASCII characters, or leave it out", maxKey),
		})
	}
	r := c.Request()
	body, err := readAll(c.Response().Writer, r)
	if err != nil {
		return idempotency.Request{}, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	principal, _ := c.Get(principalKey).(access.Principal) // there is one: see require
	return idempotency.Request{Caller: principal.Caller(), Key: given[0], Digest: digest(r, body)}, nil
}

func isKey(s string) bool {
	return s != "" && len(s) <= maxKey && !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' })
}

// digest is of all that makes it another request. No part but the last has line ends.
// A path that ends in a slash is the same one as without it.
func digest(r *http.Request, body []byte) [sha256.Size]byte {
	path := strings.TrimSuffix(r.URL.EscapedPath(), "/")
	return sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s", r.Method, path, r.URL.RawQuery, body))
}
