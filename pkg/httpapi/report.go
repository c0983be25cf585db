package httpapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/sonicus/webhooks/pkg/problem"
)

const (
	maxReported  = 100 // errors in one answer
	maxShownName = 100 // bytes of a name that the caller made up
)

// report collects what is wrong with a request.
type report []problem.Field

func (r *report) add(path, code, detail string) {
	if len(*r) < maxReported {
		*r = append(*r, problem.Field{Field: path, Code: code, Detail: detail})
	}
}

// judge adds what is wrong with the values of the body. Fields of which something
// is wrong already are passed over: as they could not be read, they seem to be missing.
func (r *report) judge(found []problem.Field) {
	known := map[string]bool{}
	for _, w := range *r {
		known[topOf(w.Field)] = true
	}
	for _, w := range found {
		if !known[topOf(w.Field)] {
			r.add(w.Field, w.Code, w.Detail)
		}
	}
}

// topOf is the field of the body that a path begins with.
func topOf(path string) string {
	if end := strings.IndexAny(path, ".["); end >= 0 {
		return path[:end]
	}
	return path
}

// instant reads a time that can be written again: zones reach beyond the years that
// RFC 3339 has, where neither JSON nor the database's driver follow.
func (r *report) instant(path, s, form string) *time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		r.add(path, "invalid_timestamp", form)
		return nil
	}
	if year := at.UTC().Year(); year < 1 || year > 9999 {
		r.add(path, "out_of_range", "use an instant in the years 1 to 9999 (UTC)")
		return nil
	}
	return &at
}

// shorten bounds what an answer repeats of a name that the caller made up.
func shorten(name string) string {
	if len(name) <= maxShownName {
		return name
	}
	return strings.ToValidUTF8(name[:maxShownName], "") + "…"
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
