package httpapi

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/problem"
)

// query is the parameters of a list. Each is taken once, by name; what nobody takes
// is refused: a filter that is misspelt must not answer with everything.
type query struct {
	values url.Values
	taken  []string
	wrong  report
}

func parseQuery(raw string) (*query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, problem.Invalid(problem.Field{Field: "query", Code: "invalid_query", Detail: "cannot be decoded"})
	}
	return &query{values: values}, nil
}

// take returns the value of a parameter, nil when it is not there or given twice.
func (q *query) take(name string) *string {
	values := q.values[name]
	delete(q.values, name)
	q.taken = append(q.taken, name)
	switch len(values) {
	case 0:
		return nil
	case 1:
		return &values[0]
	default:
		q.wrong.add(name, "duplicate_parameter", "give it once")
		return nil
	}
}

// finish reports every parameter that nobody took and returns all that is wrong.
func (q *query) finish() []problem.Field {
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		q.wrong.add(shorten(name), "unknown_parameter", "use "+strings.Join(q.taken, ", "))
	}
	return q.wrong
}

// cursor returns where the page begins, uuid.Nil for the first.
func (q *query) cursor(list string) uuid.UUID {
	given := q.take("cursor")
	if given == nil {
		return uuid.Nil
	}
	before, ok := parseCursor(list, *given)
	if !ok {
		q.wrong.add("cursor", "invalid_cursor", "use the next_cursor of an earlier page of this list")
	}
	return before
}

func (q *query) limit() int {
	given := q.take("limit")
	if given == nil {
		return defaultLimit
	}
	limit, err := strconv.Atoi(*given)
	if err != nil || limit < 1 || limit > maxLimit {
		q.wrong.add("limit", "out_of_range", fmt.Sprintf("use a whole number from 1 to %d", maxLimit))
	}
	return limit
}

func (q *query) flag(name string) *bool {
	given := q.take(name)
	if given == nil {
		return nil
	}
	if *given != "true" && *given != "false" {
		q.wrong.add(name, "invalid_flag", "use true or false")
		return nil
	}
	set := *given == "true"
	return &set
}

func (q *query) id(name string) *uuid.UUID {
	given := q.take(name)
	if given == nil {
		return nil
	}
	id, ok := parseID(*given)
	if !ok {
		q.wrong.add(name, "invalid_uuid", invalidUUID)
		return nil
	}
	return &id
}

// oneOf returns one of some words, "" when it is not there.
func (q *query) oneOf(name string, words []string) string {
	given := q.take(name)
	if given == nil {
		return ""
	}
	if !slices.Contains(words, *given) {
		q.wrong.add(name, "unknown_value", "use one of "+strings.Join(words, ", "))
		return ""
	}
	return *given
}

// text returns a text to look for, "" when it is not there.
func (q *query) text(name string, limit int) string {
	given := q.take(name)
	if given == nil {
		return ""
	}
	if found := endpoint.CheckText(name, *given, limit); len(found) > 0 {
		q.wrong = append(q.wrong, found...)
		return ""
	}
	return *given
}
