package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/endpoint"
)

// workTimeout bounds a request's work once its body has been read: with a
// database that hangs, callers are told to come back instead of piling up.
const workTimeout = 20 * time.Second

// created is the answer to a POST that made something.
type created struct {
	location string
	body     any
	existed  bool // it was there already, and has been changed
}

// taking is the handler of a POST: read the body strictly, do the work, answer 201.
func taking[T any](shape func(*fields) T, do func(context.Context, T) (created, error)) echo.HandlerFunc {
	return putting(shape, func(ctx context.Context, _ subject, in T) (created, error) { return do(ctx, in) })
}

// putting is the handler of a POST that may find what it would make: that is changed
// instead, and answered with 200.
func putting[T any](shape func(*fields) T, do func(context.Context, subject, T) (created, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		in, err := decode(c.Response().Writer, c.Request(), shape)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Request().Context(), workTimeout)
		defer cancel()
		made, err := do(ctx, subjectOf(c), in)
		if err != nil {
			return err
		}
		c.Response().Header().Set(echo.HeaderLocation, made.location)
		if made.existed {
			return sendJSON(c, http.StatusOK, made.body)
		}
		return sendJSON(c, http.StatusCreated, made.body)
	}
}

// byID is the handler of a GET of one thing, and of a POST that says nothing more.
// An id that is no UUID is looked up too, as the nil UUID, which nothing has:
// malformed and absent ids then take the same way to the same answer.
func byID(do func(context.Context, uuid.UUID) (any, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, _ := parseID(c.Param("id"))
		ctx, cancel := context.WithTimeout(c.Request().Context(), workTimeout)
		defer cancel()
		found, err := do(ctx, id)
		if err != nil {
			return err
		}
		return sendJSON(c, http.StatusOK, found)
	}
}

// subject is what a request wants to change.
type subject struct {
	id       uuid.UUID
	versions endpoint.Versions // that the caller has seen
}

// subjectOf takes an id that is no UUID as [byID] does.
func subjectOf(c echo.Context) subject {
	id, _ := parseID(c.Param("id"))
	return subject{id, ifMatch(c.Request().Header)}
}

// changing is the handler of a change of one thing: read the body strictly, do the
// work, and answer with what there is now.
func changing[T any](shape func(*fields) T, do func(context.Context, subject, T) (any, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		in, err := decode(c.Response().Writer, c.Request(), shape)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Request().Context(), workTimeout)
		defer cancel()
		changed, err := do(ctx, subjectOf(c), in)
		if err != nil {
			return err
		}
		return sendJSON(c, http.StatusOK, changed)
	}
}

// optional lets a request come without a body, which is then an empty object.
func optional(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if r := c.Request(); r.ContentLength == 0 && len(r.Header.Values(echo.HeaderContentType)) == 0 {
			r.Body = io.NopCloser(strings.NewReader("{}"))
			r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
		}
		return next(c)
	}
}

// deleting is the handler of a DELETE of one thing.
func deleting(do func(context.Context, uuid.UUID, endpoint.Versions) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), workTimeout)
		defer cancel()
		of := subjectOf(c)
		if err := do(ctx, of.id, of.versions); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}

// removing is the handler of a DELETE of what has no versions. What is gone already
// is no problem: a DELETE may be repeated (RFC 9110 §9.2.2).
func removing(remove func(context.Context, uuid.UUID) error) echo.HandlerFunc {
	return deleting(func(ctx context.Context, id uuid.UUID, _ endpoint.Versions) error { return remove(ctx, id) })
}

// parseID reads the 36 characters of RFC 9562 §4; uuid.Parse alone also takes
// braces, URNs and bare hex.
func parseID(s string) (uuid.UUID, bool) {
	if len(s) != 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.Nil, false
	}
	return id, true
}

// tagged is an answer that shows one version of something.
type tagged interface{ etag() string }

func sendJSON(c echo.Context, status int, body any) error {
	if t, ok := body.(tagged); ok {
		c.Response().Header().Set("ETag", t.etag())
	}
	return send(c, status, echo.MIMEApplicationJSON, body)
}

// send encodes before it answers, so that a failure can still become a problem.
func send(c echo.Context, status int, mediaType string, body any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // nosniff and the media type keep browsers from reading it as HTML
	if err := enc.Encode(body); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(b.Len()))
	return c.Blob(status, mediaType, b.Bytes())
}
