package filter

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/problem"
)

type parser struct {
	found      []problem.Field
	conditions int
	values     int // of all {"in": …}
}

func (p *parser) refuse(at, code, detail string, args ...any) {
	if len(p.found) < maxFound {
		p.found = append(p.found, problem.Field{Field: at, Code: code, Detail: fmt.Sprintf(detail, args...)})
	}
}

// filter reads a filter, or one within another.
func (p *parser) filter(raw json.RawMessage, at string, depth int) (clauses []Clause) {
	members, ok := as[map[string]json.RawMessage](raw, '{')
	switch {
	case !ok:
		p.refuse(at, "wrong_type", `must be an object such as {"data.organization.subscription_tier": "premium"}`)
	case depth > MaxDepth:
		p.refuse(at, "too_deep", "nest at most %d filters", MaxDepth)
	case len(members) == 0:
		p.refuse(at, "required", "name at least one field to look at")
	}
	if !ok || depth > MaxDepth {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		clauses = append(clauses, p.member(name, members[name], at+"."+shorten(name), depth)...)
	}
	return clauses
}

func (p *parser) member(name string, raw json.RawMessage, at string, depth int) []Clause {
	switch name {
	case "and":
		return p.filters(raw, at, depth)
	case "or":
		return []Clause{{at, either(p.filters(raw, at, depth))}}
	case "not":
		return []Clause{{at, not(both(p.filter(raw, at, depth+1)))}}
	default:
		return []Clause{{at, p.field(p.accessor(name, at), raw, at)}}
	}
}

// filters reads an array of filters: a clause for each.
func (p *parser) filters(raw json.RawMessage, at string, depth int) (clauses []Clause) {
	all, ok := as[[]json.RawMessage](raw, '[')
	if !ok || len(all) == 0 {
		p.refuse(at, "wrong_type", "must be an array of one or more filters")
	}
	for i, one := range all {
		each := at + "[" + strconv.Itoa(i) + "]"
		clauses = append(clauses, Clause{each, both(p.filter(one, each, depth+1))})
	}
	return clauses
}

// accessor compiles the path to a field.
func (p *parser) accessor(path, at string) string {
	p.checkText(path, at)
	names := strings.Split(path, ".")
	switch {
	case !slices.Contains(event.Fields(), names[0]):
		p.refuse(at, "invalid_path", "is no field of a payload: begin with one of %s, for example data.organization.domain, or use and, or, not",
			strings.Join(event.Fields(), ", "))
	case slices.Contains(names, ""):
		p.refuse(at, "invalid_path", "write the names of fields with one dot between them, for example data.organization.domain")
	}
	return accessor(names)
}

// field reads what a field must be: a value or an object of conditions.
func (p *parser) field(accessor string, raw json.RawMessage, at string) string {
	if raw[0] != '{' {
		return p.equals(accessor, raw, at)
	}
	conditions, _ := as[map[string]json.RawMessage](raw, '{')
	if len(conditions) == 0 {
		p.refuse(at, "required", `give a value, or an object with in, prefix or exists, for example {"exists": true}`)
	}
	var all []Clause
	for _, name := range slices.Sorted(maps.Keys(conditions)) {
		all = append(all, Clause{Path: p.condition(accessor, name, conditions[name], at+"."+shorten(name))})
	}
	return both(all)
}

func (p *parser) condition(accessor, name string, raw json.RawMessage, at string) string {
	switch name {
	case "in":
		return p.in(accessor, raw, at)
	case "prefix":
		return p.prefix(accessor, raw, at)
	case "exists":
		return p.exists(accessor, raw, at)
	default:
		p.refuse(at, "unknown_operator",
			`is none of in, prefix, exists. For equality give the value itself; a field within an object is written with a dot, "data.organization.domain"`)
		return ""
	}
}

func (p *parser) equals(accessor string, raw json.RawMessage, at string) string {
	p.conditions++
	return equal(accessor, p.value(raw, at))
}

func (p *parser) in(accessor string, raw json.RawMessage, at string) string {
	all, ok := as[[]json.RawMessage](raw, '[')
	if !ok || len(all) == 0 {
		p.refuse(at, "wrong_type", `must be an array of one or more values, for example ["premium", "enterprise"]`)
	}
	p.conditions++
	p.values += len(all)
	var values []Clause
	for i, one := range all {
		values = append(values, Clause{Path: equal(accessor, p.value(one, at+"["+strconv.Itoa(i)+"]"))})
	}
	return either(values)
}

func (p *parser) prefix(accessor string, raw json.RawMessage, at string) string {
	p.conditions++
	prefix, ok := as[string](raw, '"')
	switch {
	case !ok:
		p.refuse(at, "wrong_type", "must be a string")
	case prefix == "":
		p.refuse(at, "required", `give at least one character, or use {"exists": true}`)
	}
	p.checkText(prefix, at)
	return accessor + " starts with " + quote(prefix)
}

func (p *parser) exists(accessor string, raw json.RawMessage, at string) string {
	p.conditions++
	switch string(raw) {
	case "true":
		return "exists(" + accessor + ")"
	case "false":
		return "!exists(" + accessor + ")"
	default:
		p.refuse(at, "wrong_type", "must be true or false")
		return ""
	}
}

// value compiles what a field is compared with.
func (p *parser) value(raw json.RawMessage, at string) string {
	switch raw[0] {
	case '{', '[':
		p.refuse(at, "wrong_type", `must be a string, a number, true, false or null; for one of several use {"in": [ … ]}`)
		return ""
	case '"':
		text, _ := as[string](raw, '"')
		p.checkText(text, at)
		return quote(text)
	default:
		return string(raw) // JSON's words and numbers are SQL/JSON's
	}
}

func (p *parser) checkText(text, at string) {
	if utf8.RuneCountInString(text) > MaxText {
		p.refuse(at, "too_long", "use at most %d characters", MaxText)
	}
}

// as decodes a value that begins with first, which tells its kind.
func as[T any](raw json.RawMessage, first byte) (v T, ok bool) {
	return v, raw[0] == first && json.Unmarshal(raw, &v) == nil
}

// shorten bounds what an answer repeats of a name that the caller made up.
func shorten(name string) string {
	if len(name) <= MaxText {
		return name
	}
	return strings.ToValidUTF8(name[:MaxText], "") + "…"
}
