package filter

import (
	"encoding/json"
	"strings"
)

// What follows writes SQL/JSON paths in the lax mode, which unwraps arrays and takes
// what is not there for nothing. Everything that comes from a caller goes through
// quote, but JSON's own numbers and words.

// quote writes a text as a SQL/JSON string, whose escapes include those of JSON.
func quote(text string) string {
	quoted, _ := json.Marshal(text) // a string always encodes
	return string(quoted)
}

func accessor(names []string) string {
	var b strings.Builder
	b.WriteByte('$')
	for _, name := range names {
		b.WriteString("." + quote(name))
	}
	return b.String()
}

func equal(accessor, value string) string { return accessor + " == " + value }

// not is true of what is false and of what is unknown, such as whether a text equals
// a number: a filter expression passes on only what is true.
func not(predicate string) string { return "!exists($ ? (" + predicate + "))" }

func both(all []Clause) string   { return join(all, " && ") }
func either(all []Clause) string { return join(all, " || ") }

func join(all []Clause, operator string) string {
	paths := make([]string, len(all))
	for i, c := range all {
		paths[i] = "(" + c.Path + ")"
	}
	return strings.Join(paths, operator)
}
