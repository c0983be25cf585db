package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// marker is in every secret that a request brings: no answer, no line of a log and
// no row may show it.
const marker = "fuzz-marker-that-nobody-may-ever-see"

// maker makes values that fit the description, mostly: names that mean more than
// their schema says (a URL, a domain that is unique, an id of something) get one.
type maker struct {
	*rand.Rand
	world    *world
	receiver string
}

// secretNames are the fields whose values are secrets, with all that is in them.
var secretNames = []string{"secret_key", "password", "token", "headers"}

// value is one for a schema under the name of its field.
func (m *maker) value(name string, s *openapi3.Schema, depth int) any {
	if v, known := m.named(name, s); known {
		return v
	}
	if name == "filter" {
		return m.filter(0)
	}
	whole := joined(s)
	switch {
	case whole.Const != nil:
		return whole.Const
	case len(whole.Enum) > 0:
		return pick(m.Rand, whole.Enum)
	case len(whole.AnyOf) > 0:
		return m.value(name, pick(m.Rand, whole.AnyOf).Value, depth)
	case len(whole.OneOf) > 0:
		return m.value(name, pick(m.Rand, whole.OneOf).Value, depth)
	}
	types := whole.Type.Slice()
	if len(types) == 0 {
		types = []string{"string", "integer", "boolean", "null"}
	}
	return m.ofType(pick(m.Rand, types), name, whole, depth)
}

func (m *maker) named(name string, s *openapi3.Schema) (any, bool) {
	switch {
	case !takesText(s):
		return nil, false
	case name == "url":
		return fmt.Sprintf("%s/%d", m.receiver, m.IntN(20)), true
	case name == "domain":
		return fmt.Sprintf("d%x.example", m.Uint64()), true
	case slices.Contains(secretNames, name):
		return marker, true
	case strings.HasSuffix(name, "email"):
		return fmt.Sprintf("a%d@example.com", m.IntN(1000)), true
	case name == "cursor":
		return m.world.cursor(m.Rand), true
	case strings.HasSuffix(name, "_id"):
		return m.world.id(m.Rand, name), true
	}
	return nil, false
}

// filter is one of a payload, about fields that there are and with hostile texts.
func (m *maker) filter(depth int) map[string]any {
	all := map[string]any{}
	for range 1 + m.IntN(2) {
		path := pick(m.Rand, []string{
			"data.organization.name", "data.organization.max_users", "data.organization.industry", "event_type", "data", "data.endpoint.id", "a.b.c", "data.x'y", `data."x"`, "data.$.a", "data[*]", "data.*", "data.\\", "data.organization.name ?",
		})
		switch m.IntN(8) {
		case 0:
			all[path] = map[string]any{"exists": m.IntN(2) == 0}
		case 1:
			all[path] = map[string]any{"prefix": hostile(m.Rand)}
		case 2:
			all[path] = map[string]any{"in": []any{hostile(m.Rand), "Acme", 250}}
		case 3:
			if depth < 6 {
				all["not"] = m.filter(depth + 1)
			}
		case 4:
			if depth < 6 {
				all[pick(m.Rand, []string{"and", "or"})] = []any{m.filter(depth + 1), m.filter(depth + 1)}
			}
		default:
			all[path] = json.RawMessage(pick(m.Rand, append(slices.Clone(hostileTexts), hostileNumbers...)))
		}
	}
	return all
}

func takesText(s *openapi3.Schema) bool {
	return s.Type.Includes("string") && len(s.Enum) == 0 && s.Const == nil
}

func (m *maker) ofType(kind, name string, s *openapi3.Schema, depth int) any {
	switch kind {
	case "null":
		return nil
	case "boolean":
		return m.IntN(2) == 0
	case "integer", "number":
		return m.number(s)
	case "array":
		return m.array(name, s, depth)
	case "object":
		return m.object(s, depth)
	}
	return m.text(name, s)
}

func (m *maker) number(s *openapi3.Schema) int64 {
	low, high := int64(0), int64(math.MaxInt32)
	if s.Min != nil {
		low = int64(*s.Min)
	}
	if s.Max != nil {
		high = int64(*s.Max)
	}
	switch m.IntN(6) {
	case 0:
		return low
	case 1:
		return high
	}
	return low + m.Int64N(min(20, high-low+1))
}

func (m *maker) array(name string, s *openapi3.Schema, depth int) any {
	all := []any{}
	if s.Items == nil || depth > 4 {
		return all
	}
	for range m.IntN(3) {
		all = append(all, m.value(strings.TrimSuffix(name, "s"), s.Items.Value, depth+1))
	}
	if len(all) == 0 && s.MinItems > 0 {
		all = append(all, m.value(name, s.Items.Value, depth+1))
	}
	return all
}

func (m *maker) object(s *openapi3.Schema, depth int) any {
	all := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		needed := slices.Contains(s.Required, name)
		if needed || (depth < 5 && m.IntN(3) == 0) {
			all[name] = m.value(name, s.Properties[name].Value, depth+1)
		}
	}
	if more := s.AdditionalProperties.Schema; more != nil && len(s.Properties) == 0 {
		for i := range m.IntN(3) {
			all[fmt.Sprintf("X-Made-Up-%d", i)] = m.value("headers", more.Value, depth+1)
		}
	}
	return all
}

func (m *maker) text(name string, s *openapi3.Schema) string {
	switch {
	case s.Format == "uuid":
		return m.world.id(m.Rand, name)
	case s.Format == "date-time":
		if m.IntN(50) == 0 { // a zone can lead out of the years that can be written
			return pick(m.Rand, []string{"9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "0000-01-01T00:00:00Z"})
		}
		return time.Now().Add(time.Duration(m.IntN(2000)-1000) * time.Hour).UTC().Format(time.RFC3339Nano)
	case s.Pattern != "":
		if re, err := syntax.Parse(s.Pattern, syntax.Perl); err == nil {
			return m.matching(re)
		}
	}
	return fmt.Sprintf("%s %d", strings.ReplaceAll(name, "_", " "), m.IntN(1000))
}

// matching is a text that a pattern matches.
func (m *maker) matching(re *syntax.Regexp) string {
	var b strings.Builder
	times := 0
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		i := 2 * m.IntN(len(re.Rune)/2)
		return string(re.Rune[i] + m.Int32N(min(50, re.Rune[i+1]-re.Rune[i]+1)))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "a"
	case syntax.OpAlternate:
		return m.matching(pick(m.Rand, re.Sub))
	case syntax.OpConcat, syntax.OpCapture:
		times = 1
	case syntax.OpStar, syntax.OpQuest:
		times = m.IntN(2)
	case syntax.OpPlus:
		times = 1 + m.IntN(3)
	case syntax.OpRepeat:
		times = re.Min + m.IntN(3)
		if re.Max >= 0 {
			times = min(times, re.Max)
		}
	}
	for range times {
		for _, part := range re.Sub {
			b.WriteString(m.matching(part))
		}
	}
	return b.String()
}

// joined is a schema with what it is joined from, in one.
func joined(s *openapi3.Schema) *openapi3.Schema {
	if len(s.AllOf) == 0 {
		return s
	}
	whole := *s
	whole.AllOf, whole.Properties = nil, maps.Clone(s.Properties)
	if whole.Properties == nil {
		whole.Properties = openapi3.Schemas{}
	}
	for _, part := range s.AllOf {
		in := joined(part.Value)
		for name, property := range in.Properties {
			if whole.Properties[name] == nil {
				whole.Properties[name] = property
			}
		}
		whole.Required = append(slices.Clone(whole.Required), in.Required...)
		if whole.Type == nil {
			whole.Type = in.Type
		}
	}
	return &whole
}

// localized is an example with values that exist here, and with no other machine's name.
func (m *maker) localized(name string, v any, s *openapi3.Schema) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			var property *openapi3.Schema
			if s != nil && joined(s).Properties[key] != nil {
				property = joined(s).Properties[key].Value
			}
			if name == "headers" {
				key, property = "X-Made-Up", nil
			}
			if name == "headers" && value != nil {
				value = marker
			}
			out[key] = m.localized(key, value, property)
		}
		return out
	case []any:
		out := []any{}
		for _, value := range v {
			var item *openapi3.Schema
			if s != nil && s.Items != nil {
				item = s.Items.Value
			}
			out = append(out, m.localized(name, value, item))
		}
		return out
	case string:
		if s != nil {
			if known, ok := m.named(name, s); ok {
				return known
			}
		}
		return v
	case nil, bool, float64, json.Number:
		return v
	}
	return v
}
