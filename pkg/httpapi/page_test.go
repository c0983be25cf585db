package httpapi

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/secret"
)

// collections are the lists, with a body that adds one row.
var collections = map[string]func(i int) string{
	organizationsPath: func(i int) string {
		return fmt.Sprintf(`{"name":"%d","domain":"n%d.example.com","primary_contact_email":"a@example.com"}`, i, i)
	},
	endpointsPath: func(i int) string { return fmt.Sprintf(`{"name":"%d","url":%q,"events":["*"]}`, i, hook) },
	keysPath:      func(i int) string { return fmt.Sprintf(`{"name":"%d","role":"viewer"}`, i) },
}

// A row that comes in while somebody pages may turn up on a later page: its id may be
// of the microsecond of a row that was already shown, and is in no order with it.
func TestPagesHoldEveryRowOnceWhileRowsComeIn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for path, body := range collections {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			const before = 5
			for i := range before {
				a.post(t, path, body(i)).json(t, 201)
			}
			rows := before
			shown := a.pages(t, path, func() {
				a.post(t, path, body(rows)).json(t, 201)
				rows++
			})
			checkNewestFirst(t, shown)
			times := timesShown(shown)
			for i := range rows {
				if n := times[strconv.Itoa(i)]; n > 1 || n == 0 && i < before {
					t.Errorf("row %d is shown %d times", i, n)
				}
			}
		})
	}
}

// Rows of one transaction are of one instant, and only their ids tell them apart.
func TestPagesHoldEveryRowOfOneMillisecondOnce(t *testing.T) {
	t.Parallel()
	const rows = 5
	a := newAPI(t)
	endpoints := make([]string, rows)
	for i := range endpoints {
		endpoints[i] = collections[endpointsPath](i)
	}
	a.post(t, "/api/v1/organization-crud/organizations/", fmt.Sprintf(
		`{"name":"n","domain":"n.example.com","primary_contact_email":"a@example.com","admin_user":{"email":"a@example.com","full_name":"A"},"webhook_endpoints":[%s]}`,
		strings.Join(endpoints, ","))).json(t, 201)
	times := timesShown(a.pages(t, endpointsPath, func() {}))
	for i := range rows {
		if n := times[strconv.Itoa(i)]; n != 1 {
			t.Errorf("row %d is shown %d times", i, n)
		}
	}
}

// pages reads a list to its end, two rows at a time, with something happening
// between the pages. Lists of tests are short.
func (a *api) pages(t *testing.T, path string, between func()) (rows []map[string]any) {
	t.Helper()
	const limit, most = 2, 10
	query := "?limit=2"
	for range most {
		p := a.get(t, path+query).json(t, 200)
		data := p["data"].([]any)
		for _, row := range data {
			rows = append(rows, row.(map[string]any))
		}
		next, more := p["next_cursor"].(string)
		if p["has_more"] != more {
			t.Fatalf("has_more %v, next_cursor %v", p["has_more"], p["next_cursor"])
		}
		if len(data) > limit || more && len(data) < limit || len(data) == 0 {
			t.Errorf("%d rows on a page of %d, more: %v", len(data), limit, more)
		}
		if !more {
			return rows
		}
		query = "?limit=2&cursor=" + next
		between()
	}
	t.Fatalf("no end after %d pages", most)
	return nil
}

// timesShown counts rows by their names.
func timesShown(rows []map[string]any) map[string]int {
	times := map[string]int{}
	for _, row := range rows {
		times[row["name"].(string)]++
	}
	return times
}

// checkNewestFirst compares creation times to the millisecond, which ids order.
func checkNewestFirst(t *testing.T, rows []map[string]any) {
	t.Helper()
	var last time.Time
	for i, row := range rows {
		at, err := time.Parse(time.RFC3339Nano, row["created_at"].(string))
		if err != nil {
			t.Fatal(err)
		}
		at = at.Truncate(time.Millisecond)
		if i > 0 && at.After(last) {
			t.Errorf("row %d was created at %s, after the one before it, at %s", i, at, last)
		}
		last = at
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
	a := newAPI(t)
	v7 := uuid.Must(uuid.NewV7())
	good := a.cursors.of("organizations", v7)
	coded, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	coded[15]++ // of the id, which the code is no longer of
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
		"cursor of another":     {"cursor=" + a.cursors.of("endpoints", v7), "invalid_cursor", "cursor"},
		"cursor of another id":  {"cursor=" + base64.RawURLEncoding.EncodeToString(coded), "invalid_cursor", "cursor"},
		"cursor without a code": {"cursor=" + base64.RawURLEncoding.EncodeToString(v7[:]), "invalid_cursor", "cursor"},
		"cursor of before":      {"cursor=" + base64.RawURLEncoding.EncodeToString(append([]byte("organizations:"), v7[:]...)), "invalid_cursor", "cursor"},
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
	box, err := secret.NewBox([]secret.Key{{ID: "test", Bytes: make([]byte, 32)}})
	if err != nil {
		f.Fatal(err)
	}
	marks := cursors{box}
	good := marks.of("endpoints", uuid.MustParse("0198851c-0f57-7c53-9d3c-3a5f1f6f0c11"))
	f.Add(good)
	f.Add(good[:len(good)-1] + "F") // differs only in bits that hold nothing
	f.Add("")
	f.Add("ZW5kcG9pbnRzOg")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := marks.open("endpoints", s); ok && marks.of("endpoints", id) != s {
			t.Errorf("%q and %q are the same cursor", s, marks.of("endpoints", id))
		}
	})
}
