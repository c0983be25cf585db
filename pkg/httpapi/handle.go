package httpapi

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/idempotency"
)

// workTimeout bounds a request's work once its body has been read: with a
// database that hangs, callers are told to come back instead of piling up.
const workTimeout = 20 * time.Second

// created is the answer to a POST that made something.
type created struct {
	location string
	body     any
	code     int // the status; 0: 201
}

func (c created) status() int {
	return cmp.Or(c.code, http.StatusCreated)
}

// taking is the handler of a POST: read the body strictly, do the work, answer 201.
func taking[In, Out any](shape func(*fields) In, do func(context.Context, In) (Out, error), show func(Out) created) echo.HandlerFunc {
	return putting(shape, func(ctx context.Context, _ subject, in In) (Out, error) { return do(ctx, in) }, show)
}

// putting is the handler of a POST that may find what it would make: that is changed
// instead, and answered with 200.
func putting[In, Out any](shape func(*fields) In, do func(context.Context, subject, In) (Out, error), show func(Out) created) echo.HandlerFunc {
	return func(c echo.Context) error {
		in, err := decode(c.Response().Writer, c.Request(), shape)
		if err != nil {
			return err
		}
		return perform(c, func(ctx context.Context) (Out, error) { return do(ctx, subjectOf(c), in) }, func(made Out) (idempotency.Answer, error) {
			shown := show(made)
			return render(shown.status(), shown.location, shown.body)
		})
	}
}

// byID is the handler of a GET of one thing, and of a POST that says nothing more.
// An id that is no UUID is looked up too, as the nil UUID, which nothing has:
// malformed and absent ids then take the same way to the same answer.
func byID[Out, Shown any](do func(context.Context, uuid.UUID) (Out, error), show func(Out) Shown) echo.HandlerFunc {
	return ofOne(do, ok(show))
}

// accepting is [byID] for a POST whose work goes on after the answer, which is 202.
func accepting[Out, Shown any](do func(context.Context, uuid.UUID) (Out, error), show func(Out) Shown) echo.HandlerFunc {
	return ofOne(do, func(v Out) (idempotency.Answer, error) { return render(http.StatusAccepted, "", show(v)) })
}

func ofOne[Out any](do func(context.Context, uuid.UUID) (Out, error), answer func(Out) (idempotency.Answer, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, _ := parseID(c.Param("id"))
		return perform(c, func(ctx context.Context) (Out, error) { return do(ctx, id) }, answer)
	}
}

// ok is an answer with the status 200.
func ok[Out, Shown any](show func(Out) Shown) func(Out) (idempotency.Answer, error) {
	return func(v Out) (idempotency.Answer, error) { return render(http.StatusOK, "", show(v)) }
}

// perform does the work of a request and answers with what came of it. The work knows
// how that is answered, so that a POST with an Idempotency-Key can keep the answer.
func perform[Out any](c echo.Context, do func(context.Context) (Out, error), answer func(Out) (idempotency.Answer, error)) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), workTimeout)
	defer cancel()
	done, err := do(idempotency.Rendering(ctx, answer))
	if err != nil {
		return err
	}
	a, err := answer(done)
	if err != nil {
		return err
	}
	return reply(c, a)
}

// asking is the handler of a GET whose query says what it is about.
func asking[In, Out, Shown any](shape func(*params) In, do func(context.Context, In) (Out, error), show func(Out) Shown) echo.HandlerFunc {
	return func(c echo.Context) error {
		p, err := openParams(c.Request().URL.RawQuery)
		if err != nil {
			return err
		}
		in := shape(p)
		if err := p.finish(); err != nil {
			return err
		}
		return perform(c, func(ctx context.Context) (Out, error) { return do(ctx, in) }, ok(show))
	}
}

// within is [byID] of something that belongs to something else.
func within[Out, Shown any](do func(_ context.Context, of, id uuid.UUID) (Out, error), show func(Out) Shown) echo.HandlerFunc {
	return func(c echo.Context) error {
		s := subjectOf(c)
		return perform(c, func(ctx context.Context) (Out, error) { return do(ctx, s.id, s.user) }, ok(show))
	}
}

// subject is what a request wants to change.
type subject struct {
	id       uuid.UUID
	user     uuid.UUID         // of the organization with the id; uuid.Nil: the request is about no user
	versions endpoint.Versions // that the caller has seen
}

// subjectOf takes an id that is no UUID as [byID] does.
func subjectOf(c echo.Context) subject {
	id, _ := parseID(c.Param("id"))
	user, _ := parseID(c.Param("user_id"))
	return subject{id, user, ifMatch(c.Request().Header)}
}

// changing is the handler of a change of one thing: read the body strictly, do the
// work, and answer with what there is now.
func changing[In, Out, Shown any](shape func(*fields) In, do func(context.Context, subject, In) (Out, error), show func(Out) Shown) echo.HandlerFunc {
	return func(c echo.Context) error {
		in, err := decode(c.Response().Writer, c.Request(), shape)
		if err != nil {
			return err
		}
		return perform(c, func(ctx context.Context) (Out, error) { return do(ctx, subjectOf(c), in) }, ok(show))
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
	return deletingOf(func(ctx context.Context, of subject) error { return do(ctx, of.id, of.versions) })
}

// deletingOf is [deleting] of what an id alone does not say.
func deletingOf(do func(context.Context, subject) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), workTimeout)
		defer cancel()
		if err := do(ctx, subjectOf(c)); err != nil {
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
