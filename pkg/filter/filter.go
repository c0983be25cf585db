// Package filter owns the language in which an endpoint says which payloads it
// wants. A filter is a JSON object, all of whose members must hold:
//
//	{"data.organization.subscription_tier": {"in": ["premium", "enterprise"]},
//	 "data.organization.domain": {"prefix": "acme"},
//	 "or": [{"data.organization.industry": "retail"}, {"data.organization.industry": {"exists": false}}],
//	 "not": {"data.organization.max_users": 1}}
//
// A name other than and, or, not is the path of a field of the payload, from its
// root, with dots between. Its value is what the field equals, or an object of
// conditions:
//
//	{"in": [v, …]}      equals one of these
//	{"prefix": "s"}     is a text that begins so
//	{"exists": true}    is there, be it null; false: is not there
//
// Values are texts, numbers, true, false and null, and equal none of another kind:
// 1 is 1.0 and not "1". Upper and lower case differ. Of an array, in the field or on
// the path to it, one element must meet the condition. A field that is not there
// meets none but {"exists": false}; within not that is as false as anything else.
//
// The language is compiled to SQL/JSON paths, one for each clause, and the database
// evaluates them where it chooses the endpoints of an event: there is one engine.
package filter

import (
	"encoding/json"

	"github.com/sonicus/webhooks/pkg/problem"
)

// What a filter may hold.
const (
	MaxDepth      = 5   // filters within each other
	MaxConditions = 50  // in all of it
	MaxValues     = 200 // of all {"in": …} in it
	MaxText       = 200 // characters of a path or a value
)

// maxFound bounds how much one answer complains of.
const maxFound = 50

// Clause is a part of a filter that must be met for itself.
type Clause struct {
	Name string // where it is: "filter.data.organization.domain", "filter.or", "filter.and[1]"
	Path string // a SQL/JSON path that is true when it is met; false or unknown when it is not
}

// Parse compiles a filter into its clauses, in the order of their names, or returns
// all that is wrong with it, by paths that begin with "filter". document is valid
// JSON.
func Parse(document json.RawMessage) ([]Clause, []problem.Field) {
	var p parser
	clauses := p.filter(document, "filter", 1)
	if p.conditions > MaxConditions {
		p.refuse("filter", "too_many", "use at most %d conditions", MaxConditions)
	}
	if p.values > MaxValues {
		p.refuse("filter", "too_many", `use at most %d values with "in"`, MaxValues)
	}
	if len(p.found) > 0 {
		return nil, p.found
	}
	return clauses, nil
}
