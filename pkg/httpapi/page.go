package httpapi

import (
	"context"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
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

// listing is the handler of a list without filters, newest first: what was made in
// one microsecond is in no order. item returns a row's id and JSON.
func listing[T any](name string, list func(context.Context, int, uuid.UUID) ([]T, error), item func(T) (uuid.UUID, any)) echo.HandlerFunc {
	return filtered(name, unfiltered,
		func(ctx context.Context, _ struct{}, limit int, before uuid.UUID) ([]T, error) {
			return list(ctx, limit, before)
		}, item)
}

// unfiltered takes nothing from the query.
func unfiltered(*params) struct{} { return struct{}{} }

// filtered is the handler of a list whose filters shape takes from the query. It
// asks for one row more than it shows, to know whether there are more.
func filtered[F, T any](name string, shape func(*params) F, list func(context.Context, F, int, uuid.UUID) ([]T, error),
	item func(T) (uuid.UUID, any),
) echo.HandlerFunc {
	return searched(name, shape, func(ctx context.Context, filter F, limit int, before uuid.UUID) ([]T, uuid.UUID, error) {
		rows, err := list(ctx, filter, limit, before)
		return rows, uuid.Nil, err
	}, item)
}

// about is [filtered] for a list of what belongs to one thing. An id that is no UUID is
// taken as by [byID].
func about[F, T any](name string, shape func(*params) F, list func(context.Context, uuid.UUID, F, int, uuid.UUID) ([]T, error),
	item func(T) (uuid.UUID, any),
) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, _ := parseID(c.Param("id"))
		return filtered(name, shape, func(ctx context.Context, filter F, limit int, before uuid.UUID) ([]T, error) {
			return list(ctx, id, filter, limit, before)
		}, item)(c)
	}
}

// searched is [filtered] for a list that looks only so far for one page: it may find
// less than was asked for, or nothing, and returns the id below which there may be more.
func searched[F, T any](name string, shape func(*params) F, list func(context.Context, F, int, uuid.UUID) ([]T, uuid.UUID, error),
	item func(T) (uuid.UUID, any),
) echo.HandlerFunc {
	return func(c echo.Context) error {
		p, err := openParams(c.Request().URL.RawQuery)
		if err != nil {
			return err
		}
		marks, _ := c.Get(cursorsKey).(cursors) // there are: see observe
		limit, before, filter := p.limit(), p.before(marks, name), shape(p)
		if err := p.finish(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Request().Context(), workTimeout)
		defer cancel()
		rows, edge, err := list(ctx, filter, limit+1, before)
		if err != nil {
			return err
		}
		return sendJSON(c, paged(marks, name, limit, rows, edge, item))
	}
}

func paged[T any](marks cursors, name string, limit int, rows []T, edge uuid.UUID, item func(T) (uuid.UUID, any)) page {
	p := page{Data: []any{}, HasMore: len(rows) > limit || edge != uuid.Nil}
	var last uuid.UUID
	for _, row := range rows[:min(limit, len(rows))] {
		id, shown := item(row)
		p.Data, last = append(p.Data, shown), id
	}
	if len(rows) <= limit {
		last = edge
	}
	if p.HasMore {
		next := marks.of(name, last)
		p.NextCursor = &next
	}
	return p
}
