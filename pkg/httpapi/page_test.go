package httpapi

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// collections are the lists, with a body that adds one row.
var collections = map[string]func(i int) string{
	organizationsPath: func(i int) string {
		return fmt.Sprintf(`{"name":"%d","domain":"n%d.example.com","primary_contact_email":"a@example.com"}`, i, i)
	},
	endpointsPath: func(i int) string { return fmt.Sprintf(`{"name":"%d","url":%q,"events":["*"]}`, i, hook) },
	keysPath:      func(i int) string { return fmt.Sprintf(`{"name":"%d","role":"viewer"}`, i) },
}

func TestPagesHoldEveryRowOnceWhileRowsComeIn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for path, body := range collections {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			for i := range 5 {
				a.post(t, path, body(i)).json(t, 201)
			}
			var seen []string
			var sizes []int
			query := "?limit=2"
			for more := true; more; {
				p := a.get(t, path+query).json(t, 200)
				data := p["data"].([]any)
				for _, row := range data {
					seen = append(seen, row.(map[string]any)["name"].(string))
				}
				sizes = append(sizes, len(data))
				more = p["has_more"].(bool)
				next, ok := p["next_cursor"].(string)
				if ok != more {
					t.Fatalf("has_more %v, next_cursor %v", more, p["next_cursor"])
				}
				query = "?cursor=" + next + "&limit=2"
				if len(seen) == 2 {
					a.post(t, path, body(9)).json(t, 201)
				}
			}
			if diff := cmp.Diff([]string{"4", "3", "2", "1", "0"}, seen); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]int{2, 2, 1}, sizes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFullLastPageSaysThatItIsTheLast(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for i := range 2 {
		a.post(t, organizationsPath, collections[organizationsPath](i)).json(t, 201)
	}
	if p := a.get(t, organizationsPath+"?limit=2").json(t, 200); p["has_more"] != false || p["next_cursor"] != nil {
		t.Errorf("got %v", p)
	}
}

func TestEmptyListIsAnArray(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for path := range collections {
		if got := a.get(t, path); got.body != `{"data":[],"next_cursor":null,"has_more":false}`+"\n" {
			t.Errorf("%s: %s", path, got.body)
		}
	}
}

func TestQueryIsReadStrictly(t *testing.T) {
	t.Parallel()
	v7 := uuid.Must(uuid.NewV7())
	good := cursor("organizations", v7)
	tests := map[string]struct{ query, code, fields string }{
		"nothing":               {"", "", ""},
		"lowest limit":          {"limit=1", "", ""},
		"highest limit":         {"limit=200", "", ""},
		"good cursor":           {"cursor=" + good, "", ""},
		"limit 0":               {"limit=0", "out_of_range", "limit"},
		"limit 201":             {"limit=201", "out_of_range", "limit"},
		"negative limit":        {"limit=-1", "out_of_range", "limit"},
		"huge limit":            {"limit=" + strings.Repeat("9", 40), "out_of_range", "limit"},
		"limit in words":        {"limit=ten", "out_of_range", "limit"},
		"empty limit":           {"limit=", "out_of_range", "limit"},
		"fraction":              {"limit=1.5", "out_of_range", "limit"},
		"limit twice":           {"limit=1&limit=2", "duplicate_parameter", "limit"},
		"empty cursor":          {"cursor=", "invalid_cursor", "cursor"},
		"cursor of nothing":     {"cursor=abc", "invalid_cursor", "cursor"},
		"bare id":               {"cursor=" + v7.String(), "invalid_cursor", "cursor"},
		"cursor of another":     {"cursor=" + cursor("endpoints", v7), "invalid_cursor", "cursor"},
		"cursor of the nil id":  {"cursor=" + cursor("organizations", uuid.Nil), "invalid_cursor", "cursor"},
		"cursor of a random id": {"cursor=" + cursor("organizations", uuid.New()), "invalid_cursor", "cursor"},
		"cursor cut short":      {"cursor=" + good[:len(good)-2], "invalid_cursor", "cursor"},
		"longer cursor":         {"cursor=" + good + "AAAA", "invalid_cursor", "cursor"},
		"padded cursor":         {"cursor=" + good + "=", "invalid_cursor", "cursor"},
		"standard base64":       {"cursor=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("organizations:>>>>????>>>>????"))), "invalid_cursor", "cursor"},
		"SQL":                   {"cursor=%27%20OR%201=1--", "invalid_cursor", "cursor"},
		"unknown parameter":     {"offset=10", "unknown_parameter", "offset"},
		"other case":            {"Limit=10", "unknown_parameter", "Limit"},
		"empty parameter":       {"=1", "unknown_parameter", ""},
		"broken escape":         {"limit=%zz", "invalid_query", "query"},
		"semicolon":             {"limit=1;cursor=x", "invalid_query", "query"},
		"all at once":           {"limit=0&cursor=x&sort=name", "validation_failed", "cursor limit sort"},
	}
	a := newAPI(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := a.get(t, organizationsPath+"?"+tt.query)
			if tt.code == "" {
				got.json(t, 200)
				return
			}
			if d := got.problem(t, 422, tt.code); d.fieldNames() != tt.fields {
				t.Errorf("got %s", got.body)
			}
		})
	}
}

func FuzzCursor(f *testing.F) {
	good := cursor("endpoints", uuid.MustParse("0198851c-0f57-7c53-9d3c-3a5f1f6f0c11"))
	f.Add(good)
	f.Add(good[:len(good)-1] + "F") // differs only in bits that hold nothing
	f.Add("")
	f.Add("ZW5kcG9pbnRzOg")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := parseCursor("endpoints", s); ok && cursor("endpoints", id) != s {
			t.Errorf("%q and %q are the same cursor", s, cursor("endpoints", id))
		}
	})
}
