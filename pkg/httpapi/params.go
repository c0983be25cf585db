package httpapi

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/problem"
)

// maxParam is the longest text that a list can be filtered by, in bytes.
const maxParam = 1000

// params are the parameters of a request's query. Each is taken once, by name and
// type; what nobody takes is unknown: a filter that is misspelt must not answer
// with everything.
type params struct {
	values url.Values
	names  []string // taken so far
	wrong  *report
}

func openParams(rawQuery string) (*params, error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, problem.Invalid(problem.Field{Field: "query", Code: "invalid_query", Detail: "cannot be decoded"})
	}
	return &params{values: values, wrong: new(report)}, nil
}

// finish reports what nobody took and returns all that is wrong, by name.
func (p *params) finish() error {
	for name := range p.values {
		p.wrong.add(shorten(name), "unknown_parameter", "use "+alternatives(p.names))
	}
	slices.SortFunc(*p.wrong, func(a, b problem.Field) int { return cmp.Compare(a.Field, b.Field) })
	if len(*p.wrong) > 0 {
		return problem.Invalid(*p.wrong...)
	}
	return nil
}

// alternatives reads as "a, b or c"; there are always two at least.
func alternatives(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// take returns a parameter's text, nil when it is not there.
func (p *params) take(name string) *string {
	given := p.values[name]
	delete(p.values, name)
	p.names = append(p.names, name)
	switch len(given) {
	case 0:
		return nil
	case 1:
		return &given[0]
	default:
		p.wrong.add(name, "duplicate_parameter", "give it once")
		return nil
	}
}

func (p *params) limit() int {
	if n := p.number("limit", 1, maxLimit); n != nil {
		return *n
	}
	return defaultLimit
}

// before is the id that a page of the list of this name begins below, uuid.Nil on
// the first page.
func (p *params) before(marks cursors, list string) uuid.UUID {
	s := p.take("cursor")
	if s == nil {
		return uuid.Nil
	}
	id, ok := marks.open(list, *s)
	if !ok {
		p.wrong.add("cursor", "invalid_cursor", "use the next_cursor of an earlier page of this list")
	}
	return id
}

// text returns what to filter by. Postgres refuses texts with NUL or broken UTF-8,
// and holds none that could match.
func (p *params) text(name string) *string {
	s := p.take(name)
	if s != nil && (*s == "" || len(*s) > maxParam || !utf8.ValidString(*s) || strings.ContainsRune(*s, 0)) {
		p.wrong.add(name, "invalid_value", fmt.Sprintf("give 1 to %d bytes of UTF-8, or leave it out", maxParam))
		return nil
	}
	return s
}

func (p *params) flag(name string) *bool {
	s := p.oneOf(name, "true", "false")
	if s == "" {
		return nil
	}
	set := s == "true"
	return &set
}

func (p *params) id(name string) *uuid.UUID {
	s := p.take(name)
	if s == nil {
		return nil
	}
	id, ok := parseID(*s)
	if !ok {
		p.wrong.add(name, "invalid_uuid", invalidUUID)
		return nil
	}
	return &id
}

// oneOf returns one of some words, "" when it is not there.
func (p *params) oneOf(name string, words ...string) string {
	s := p.take(name)
	if s == nil {
		return ""
	}
	if !slices.Contains(words, *s) {
		p.wrong.add(name, "invalid_value", "use "+alternatives(words))
		return ""
	}
	return *s
}

// eventType returns a type of the catalogue: there are no events of another one, and
// patterns such as organization.* are for subscriptions.
func (p *params) eventType(name string) *string {
	s := p.oneOf(name, event.Types()...)
	if s == "" {
		return nil
	}
	return &s
}

// severalOf returns some of some words, separated by commas; nil when it is not there.
func severalOf[W ~string](p *params, name string, words []W) []W {
	s := p.take(name)
	if s == nil {
		return nil
	}
	var all []W
	for given := range strings.SplitSeq(*s, ",") {
		if !slices.Contains(words, W(given)) {
			p.wrong.add(name, "invalid_value", "use one or more of "+listed(words)+", separated by commas")
			return nil
		}
		all = append(all, W(given))
	}
	return all
}

func listed[W ~string](words []W) string {
	var all []string
	for _, w := range words {
		all = append(all, string(w))
	}
	return strings.Join(all, ", ")
}

// number returns a whole number from low to high.
func (p *params) number(name string, low, high int) *int {
	s := p.take(name)
	if s == nil {
		return nil
	}
	n, err := strconv.Atoi(*s)
	if err != nil || n < low || n > high {
		p.wrong.add(name, "out_of_range", fmt.Sprintf("use a whole number from %d to %d", low, high))
		return nil
	}
	return &n
}

func (p *params) instant(name string) *time.Time {
	s := p.take(name)
	if s == nil {
		return nil
	}
	return p.wrong.instant(name, *s, "must look like 2025-08-07T16:20:52Z (RFC 3339; a plus sign is written %2B)")
}
