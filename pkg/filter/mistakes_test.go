package filter_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sonicus/webhooks/pkg/filter"
)

func TestMistakesAreNamedWhereTheyAre(t *testing.T) {
	t.Parallel()
	many := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	for name, c := range map[string]struct{ document, field, code string }{
		"not an object":            {`[]`, "filter", "wrong_type"},
		"nothing":                  {`{}`, "filter", "required"},
		"nothing within":           {`{"or":[{"data.a":1},{}]}`, "filter.or[1]", "required"},
		"no conditions":            {`{"data.a":{}}`, "filter.data.a", "required"},
		"no alternatives":          {`{"or":[]}`, "filter.or", "wrong_type"},
		"one alternative, bare":    {`{"or":{"data.a":1}}`, "filter.or", "wrong_type"},
		"and of a value":           {`{"and":[1]}`, "filter.and[0]", "wrong_type"},
		"not of an array":          {`{"not":[{"data.a":1}]}`, "filter.not", "wrong_type"},
		"a list as a value":        {`{"data.a":["x"]}`, "filter.data.a", "wrong_type"},
		"an object as a value":     {`{"data.a":{"in":[{}]}}`, "filter.data.a.in[0]", "wrong_type"},
		"objects within":           {`{"data":{"organization":{"name":"x"}}}`, "filter.data.organization", "unknown_operator"},
		"another's operator":       {`{"data.a":{"$eq":1}}`, "filter.data.a.$eq", "unknown_operator"},
		"no root":                  {`{"organization.name":"x"}`, "filter.organization.name", "invalid_path"},
		"operator as a field":      {`{"exists":true}`, "filter.exists", "invalid_path"},
		"two dots":                 {`{"data..a":1}`, "filter.data..a", "invalid_path"},
		"a dot at the end":         {`{"data.":1}`, "filter.data.", "invalid_path"},
		"no name":                  {`{"":1}`, "filter.", "invalid_path"},
		"empty list":               {`{"data.a":{"in":[]}}`, "filter.data.a.in", "wrong_type"},
		"one of a text":            {`{"data.a":{"in":"x"}}`, "filter.data.a.in", "wrong_type"},
		"prefix of a number":       {`{"data.a":{"prefix":1}}`, "filter.data.a.prefix", "wrong_type"},
		"empty prefix":             {`{"data.a":{"prefix":""}}`, "filter.data.a.prefix", "required"},
		"exists of a text":         {`{"data.a":{"exists":"true"}}`, "filter.data.a.exists", "wrong_type"},
		"exists of nothing":        {`{"data.a":{"exists":null}}`, "filter.data.a.exists", "wrong_type"},
		"deep":                     {`{"not":{"or":[{"not":{"and":[{"not":{"data.a":1}}]}}]}}`, "filter.not.or[0].not.and[0].not", "too_deep"},
		"long value":               {`{"data.a":"` + strings.Repeat("ö", 201) + `"}`, "filter.data.a", "too_long"},
		"long element":             {`{"data.a":{"in":[1,"` + strings.Repeat("x", 201) + `"]}}`, "filter.data.a.in[1]", "too_long"},
		"long prefix":              {`{"data.a":{"prefix":"` + strings.Repeat("x", 201) + `"}}`, "filter.data.a.prefix", "too_long"},
		"long path":                {`{"data.` + strings.Repeat("x", 200) + `":1}`, "filter.data." + strings.Repeat("x", 195) + "…", "too_long"},
		"many conditions":          {`{"or":[` + many(51, `{"data.a":1}`) + `]}`, "filter", "too_many"},
		"many values":              {`{"data.a":{"in":[` + many(101, "1") + `]},"data.b":{"in":[` + many(100, "1") + `]}}`, "filter", "too_many"},
		"in the midst of the good": {`{"data.a":1,"or":[{"data.b":2},{"data.c":{"in":[1,[]]}}]}`, "filter.or[1].data.c.in[1]", "wrong_type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clauses, found := filter.Parse(json.RawMessage(c.document))
			if len(found) != 1 || found[0].Field != c.field || found[0].Code != c.code || len(found[0].Detail) < 10 || clauses != nil {
				t.Errorf("found %+v, want %s of %s", found, c.code, c.field)
			}
		})
	}
}

func TestAllMistakesAreNamedButNoMoreThanCanBeRead(t *testing.T) {
	t.Parallel()
	if _, found := filter.Parse(json.RawMessage(`{"a":[],"data.b":{"x":1,"y":2},"or":[1]}`)); len(found) != 5 {
		t.Errorf("found %+v", found)
	}
	if _, found := filter.Parse(json.RawMessage(`{"or":[` + strings.Repeat(`1,`, 1000) + `1]}`)); len(found) != 50 {
		t.Errorf("found %d", len(found))
	}
}

func TestWhatIsJustAllowedPasses(t *testing.T) {
	t.Parallel()
	var conditions []string
	for i := range 50 {
		conditions = append(conditions, fmt.Sprintf(`{"data.%d":{"in":[1,2,3,"%s"]}}`, i, strings.Repeat("ö", 200)))
	}
	for _, document := range []string{
		`{"or":[` + strings.Join(conditions, ",") + `]}`,
		`{"not":{"or":[{"not":{"and":[{"data.a":null}]}}]}}`,
		`{"event_type":{"prefix":"organization."},"event_id":"x","timestamp":{"prefix":"2026-"},"data":{"exists":true}}`,
		`{"data.` + strings.Repeat("x", 195) + `":1}`,
	} {
		if _, found := filter.Parse(json.RawMessage(document)); len(found) > 0 {
			t.Errorf("%.60s: %+v", document, found)
		}
	}
}
