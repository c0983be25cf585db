package httpapi

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/problem"
)

const (
	defaultLimit = 50
	maxLimit     = 200
)

// page is the body of every list. There are no offsets: a page begins below the
// last id of the one before, so while rows come in none is repeated, and none that
// was there before the first page is skipped.
type page struct {
	Data       []any   `json:"data"`
	NextCursor *string `json:"next_cursor"` // null on the last page
	HasMore    bool    `json:"has_more"`
}

// listing is the handler of a list, newest first to the millisecond: ids of one are
// in no order. It asks for one row more than it shows, to know whether there are
// more. item returns a row's id and JSON.
func listing[T any](name string, list func(context.Context, int, uuid.UUID) ([]T, error), item func(T) (uuid.UUID, any)) echo.HandlerFunc {
	return func(c echo.Context) error {
		limit, before, err := pageOf(name, c.Request().URL.RawQuery)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Request().Context(), workTimeout)
		defer cancel()
		rows, err := list(ctx, limit+1, before)
		if err != nil {
			return err
		}
		return sendJSON(c, http.StatusOK, paged(name, limit, rows, item))
	}
}

func paged[T any](name string, limit int, rows []T, item func(T) (uuid.UUID, any)) page {
	p := page{Data: []any{}, HasMore: len(rows) > limit}
	var last uuid.UUID
	for _, row := range rows[:min(limit, len(rows))] {
		id, shown := item(row)
		p.Data, last = append(p.Data, shown), id
	}
	if p.HasMore {
		next := cursor(name, last)
		p.NextCursor = &next
	}
	return p
}

// pageOf reads limit and cursor, and refuses everything else: a filter that is
// misspelt must not answer with everything.
func pageOf(name, rawQuery string) (limit int, before uuid.UUID, err error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return 0, uuid.Nil, problem.Invalid(problem.Field{Field: "query", Code: "invalid_query", Detail: "cannot be decoded"})
	}
	limit = defaultLimit
	var wrong []problem.Field
	for _, key := range slices.Sorted(maps.Keys(query)) {
		values := query[key]
		switch {
		case key != "limit" && key != "cursor":
			wrong = append(wrong, problem.Field{Field: shorten(key), Code: "unknown_parameter", Detail: "use limit or cursor"})
		case len(values) > 1:
			wrong = append(wrong, problem.Field{Field: key, Code: "duplicate_parameter", Detail: "give it once"})
		case key == "limit":
			limit, err = strconv.Atoi(values[0])
			if err != nil || limit < 1 || limit > maxLimit {
				wrong = append(wrong, problem.Field{Field: key, Code: "out_of_range", Detail: fmt.Sprintf("use a whole number from 1 to %d", maxLimit)})
			}
		default:
			var ok bool
			if before, ok = parseCursor(name, values[0]); !ok {
				wrong = append(wrong, problem.Field{Field: key, Code: "invalid_cursor", Detail: "use the next_cursor of an earlier page of this list"})
			}
		}
	}
	if len(wrong) > 0 {
		return 0, uuid.Nil, problem.Invalid(wrong...)
	}
	return limit, before, nil
}

// cursor says where the next page of a list begins. It is not signed: it holds
// only an id that its holder has just been shown, and grants nothing.
func cursor(name string, last uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte(name+":"), last[:]...))
}

func parseCursor(name, s string) (uuid.UUID, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return uuid.Nil, false
	}
	raw, ok := strings.CutPrefix(string(b), name+":")
	if !ok {
		return uuid.Nil, false
	}
	id, err := uuid.FromBytes([]byte(raw))
	return id, err == nil && id.Version() == 7
}
