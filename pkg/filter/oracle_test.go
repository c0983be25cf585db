package filter_test

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// TestEngineAgreesWithTheOracle compares the database with a reading of the language
// that knows nothing of SQL/JSON paths.
func TestEngineAgreesWithTheOracle(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	rapid.Check(t, func(t *rapid.T) {
		f := drawFilter(t, 1)
		document := encode(t, f)
		for range 5 {
			p := map[string]any{"data": drawValue(t, 1)}
			payload := encode(t, p)
			want := meets(decode(t, document).(map[string]any), decode(t, payload))
			if got := failing(t, db, document, payload); (got == "") != want {
				t.Fatalf("%s on %s: clause %q, the oracle says %v", document, payload, got, want)
			}
		}
	})
}

func encode(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decode(t *rapid.T, s string) (v any) {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

var (
	names   = rapid.SampledFrom([]string{"a", "b", `c"\d`, "$", "e f"})
	scalars = rapid.OneOf(
		rapid.SampledFrom([]any{nil, true, false, 1, json.Number("1.0"), json.Number("1e2"), -1, "", "x", "xy", "1", "true", "null", `"\`, "ö"}),
		rapid.Map(rapid.StringN(0, 3, -1), func(s string) any { return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "") }),
		rapid.Map(rapid.Float64Range(-1e20, 1e20), func(f float64) any { return f }),
	)
	texts = rapid.SampledFrom([]string{"x", "xy", "1", `"`, `"\`, "ö"})
)

func drawValue(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	switch {
	case kind < 2 && depth < 4:
		object := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			object[names.Draw(t, "name")] = drawValue(t, depth+1)
		}
		return object
	case kind == 2 && depth < 4:
		array := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			array = append(array, drawValue(t, depth+1))
		}
		return array
	default:
		return scalars.Draw(t, "scalar")
	}
}

func drawFilter(t *rapid.T, depth int) map[string]any {
	f := map[string]any{}
	for range rapid.IntRange(1, 2).Draw(t, "clauses") {
		kind := rapid.IntRange(0, 6).Draw(t, "clause")
		switch {
		case kind <= 1 && depth < 4:
			var all []any
			for range rapid.IntRange(1, 2).Draw(t, "filters") {
				all = append(all, drawFilter(t, depth+1))
			}
			f[[]string{"and", "or"}[kind]] = all
		case kind == 2 && depth < 5:
			f["not"] = drawFilter(t, depth+1)
		default:
			path := "data"
			for range rapid.IntRange(0, 2).Draw(t, "length") {
				path += "." + names.Draw(t, "name")
			}
			f[path] = drawCondition(t)
		}
	}
	return f
}

func drawCondition(t *rapid.T) any {
	switch rapid.IntRange(0, 4).Draw(t, "condition") {
	case 0:
		return map[string]any{"in": rapid.SliceOfN(scalars, 1, 3).Draw(t, "in")}
	case 1:
		return map[string]any{"prefix": texts.Draw(t, "prefix")}
	case 2:
		return map[string]any{"exists": rapid.Bool().Draw(t, "exists")}
	case 3:
		return map[string]any{"exists": true, "in": rapid.SliceOfN(scalars, 1, 2).Draw(t, "in")}
	default:
		return scalars.Draw(t, "value")
	}
}

// meets is the oracle.
func meets(f map[string]any, payload any) bool {
	for name, v := range f {
		var holds bool
		switch name {
		case "and":
			holds = !slices.ContainsFunc(v.([]any), func(f any) bool { return !meets(f.(map[string]any), payload) })
		case "or":
			holds = slices.ContainsFunc(v.([]any), func(f any) bool { return meets(f.(map[string]any), payload) })
		case "not":
			holds = !meets(v.(map[string]any), payload)
		default:
			holds = fits(v, reach([]any{payload}, strings.Split(name, ".")))
		}
		if !holds {
			return false
		}
	}
	return true
}

// reach follows a path, through arrays on it.
func reach(from []any, path []string) []any {
	for _, name := range path {
		var next []any
		for _, v := range unwrap(from) {
			if object, ok := v.(map[string]any); ok {
				if member, there := object[name]; there {
					next = append(next, member)
				}
			}
		}
		from = next
	}
	return from
}

// unwrap puts the elements of arrays in their place.
func unwrap(all []any) (elements []any) {
	for _, v := range all {
		if array, ok := v.([]any); ok {
			elements = append(elements, array...)
		} else {
			elements = append(elements, v)
		}
	}
	return elements
}

func fits(condition any, found []any) bool {
	conditions, ok := condition.(map[string]any)
	if !ok {
		return among([]any{condition}, found)
	}
	for name, v := range conditions {
		var holds bool
		switch name {
		case "in":
			holds = among(v.([]any), found)
		case "prefix":
			holds = slices.ContainsFunc(unwrap(found), func(f any) bool {
				s, ok := f.(string)
				return ok && strings.HasPrefix(s, v.(string))
			})
		case "exists":
			holds = v.(bool) == (len(found) > 0)
		}
		if !holds {
			return false
		}
	}
	return true
}

func among(values, found []any) bool {
	return slices.ContainsFunc(unwrap(found), func(f any) bool {
		return slices.ContainsFunc(values, func(v any) bool { return same(f, v) })
	})
}

func same(a, b any) bool {
	x, isNumber := a.(json.Number)
	y, both := b.(json.Number)
	if isNumber && both {
		p, _ := new(big.Rat).SetString(x.String())
		q, _ := new(big.Rat).SetString(y.String())
		return p.Cmp(q) == 0
	}
	switch a.(type) {
	case nil, bool, string:
		return a == b
	default:
		return false
	}
}
