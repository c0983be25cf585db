package filter_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/filter"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// tester is what a test can fail by; rapid has its own.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// failing evaluates a filter as publishing does, and returns the clause that is not
// met, "" when all are.
func failing(t tester, db *sqlx.DB, document, payload string) string {
	t.Helper()
	clauses, found := filter.Parse(json.RawMessage(document))
	if len(found) > 0 {
		t.Fatalf("%s is refused: %+v", document, found)
	}
	var names, paths pq.StringArray
	for _, c := range clauses {
		names, paths = append(names, c.Name), append(paths, c.Path)
	}
	var clause *string
	if err := db.Get(&clause, `SELECT sonicus.failing_clause($1::text[]::jsonpath[], $2, sonicus.document($3))`, paths, names, payload); err != nil {
		t.Fatalf("%s on %s: %v; paths %q", document, payload, err, paths)
	}
	if clause == nil {
		return ""
	}
	return *clause
}

const payload = `{"event_type":"organization.created","data":{"organization":{"name":"Größe","domain":"acme.example","tier":"premium","max_users":250,
	"big":12345678901234567890,"industry":null,"active":true,"a b":1},"tags":["x",2,null,["deep"]],"users":[{"id":1},{"id":2,"name":"Ada"}],"none":[],"object":{}}}`

func TestFilterMeetsPayload(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for document, want := range map[string]string{
		// equality
		`{"event_type":"organization.created"}`:                   "",
		`{"data.organization.name":"Größe"}`:                      "",
		`{"data.organization.name":"größe"}`:                      "filter.data.organization.name",
		`{"data.organization.max_users":250}`:                     "",
		`{"data.organization.max_users":2.5E2}`:                   "",
		`{"data.organization.max_users":-250}`:                    "filter.data.organization.max_users",
		`{"data.organization.max_users":"250"}`:                   "filter.data.organization.max_users",
		`{"data.organization.big":12345678901234567890}`:          "",
		`{"data.organization.big":12345678901234567891}`:          "filter.data.organization.big",
		`{"data.organization.active":true}`:                       "",
		`{"data.organization.active":false}`:                      "filter.data.organization.active",
		`{"data.organization.active":1}`:                          "filter.data.organization.active",
		`{"data.organization.industry":null}`:                     "",
		`{"data.organization.missing":null}`:                      "filter.data.organization.missing",
		`{"data.organization.name":null}`:                         "filter.data.organization.name",
		`{"data.organization.a b":1}`:                             "",
		`{"data.organization.name.more":"x"}`:                     "filter.data.organization.name.more",
		`{"data.organization":"premium"}`:                         "filter.data.organization",
		`{"data.organization.tier":{"in":["starter","premium"]}}`: "",
		`{"data.organization.tier":{"in":["starter",null,1]}}`:    "filter.data.organization.tier",
		// prefix
		`{"data.organization.domain":{"prefix":"acme"}}`:  "",
		`{"data.organization.domain":{"prefix":"ACME"}}`:  "filter.data.organization.domain",
		`{"data.organization.domain":{"prefix":"acme%"}}`: "filter.data.organization.domain",
		`{"data.organization.name":{"prefix":"Grö"}}`:     "",
		`{"data.organization.max_users":{"prefix":"2"}}`:  "filter.data.organization.max_users",
		// exists
		`{"data.organization.industry":{"exists":true}}`: "",
		`{"data.organization.missing":{"exists":false}}`: "",
		`{"data.organization.missing":{"exists":true}}`:  "filter.data.organization.missing",
		`{"data.organization.name":{"exists":false}}`:    "filter.data.organization.name",
		`{"data.none":{"exists":true}}`:                  "",
		`{"data.none.x":{"exists":true}}`:                "filter.data.none.x",
		// arrays
		`{"data.tags":"x"}`:                       "",
		`{"data.tags":2}`:                         "",
		`{"data.tags":null}`:                      "",
		`{"data.tags":"deep"}`:                    "filter.data.tags",
		`{"data.tags":{"in":["y","x"]}}`:          "",
		`{"data.users.id":2}`:                     "",
		`{"data.users.name":"Ada"}`:               "",
		`{"data.users.id":3}`:                     "filter.data.users.id",
		`{"data.none":null}`:                      "filter.data.none",
		`{"data.users.name":{"exists":false}}`:    "filter.data.users.name",
		`{"data.tags":{"prefix":"x","in":[2,3]}}`: "",
		// and, or, not
		`{"data.organization.tier":"premium","event_type":"x"}`:                                                   "filter.event_type",
		`{"not":{"data.organization.tier":"premium"}}`:                                                            "filter.not",
		`{"not":{"data.organization.tier":"starter"}}`:                                                            "",
		`{"not":{"data.organization.missing":"x"}}`:                                                               "",
		`{"not":{"data.organization.max_users":"250"}}`:                                                           "", // not comparable: unknown, which is not true
		`{"not":{"not":{"data.organization.max_users":"250"}}}`:                                                   "filter.not",
		`{"not":{"data.organization.tier":"premium","data.organization.active":false}}`:                           "",
		`{"or":[{"data.organization.max_users":"250"},{"data.organization.tier":"premium"}]}`:                     "",
		`{"or":[{"data.organization.tier":"x"},{"data.organization.tier":"premium","event_type":"x"}]}`:           "filter.or",
		`{"and":[{"data.organization.tier":"premium"},{"event_type":"x"},{"event_type":"y"}]}`:                    "filter.and[1]",
		`{"or":[{"and":[{"data.organization.active":true},{"not":{"or":[{"data.tags":"y"},{"data.none":1}]}}]}]}`: "",
	} {
		if got := failing(t, db, document, payload); got != want {
			t.Errorf("%s: clause %q, want %q", document, got, want)
		}
	}
}

// A filter that cannot look at the payload lets nothing through, and names a clause.
func TestPayloadThatCannotBeRepresentedMeetsNoFilter(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for name, payload := range map[string]string{
		"U+0000":              `{"data":"\u0000"}`,
		"lone surrogate":      `{"data":"\ud800"}`,
		"number without end":  `{"data":1e999999}`,
		"not an object":       `"x"`,
		"an array of objects": `[{"data":2}]`,
	} {
		if got := failing(t, db, `{"data":1}`, payload); got != "filter.data" {
			t.Errorf("%s: clause %q", name, got)
		}
	}
}

// What a caller writes is compared with, and never read as part of the path.
func TestHostileTextsMeetThemselvesAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	quote := func(s string) string {
		quoted, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(quoted)
	}
	hostile := []string{
		`"`, `\`, `\"`, `\\"`, `" || 1 == 1 || "`, `") || (1 == 1`, `' OR '1'='1`, `'; DROP TABLE sonicus.endpoints; --`, `$`, `$$`, `@`, `$ ? (@ == 1)`, `*`, `**`, `[*]`,
		`{}`, `{"a"}`, `,`, `NULL`, `null`, `true`, `\x41`, `\u0041`, `\u{41}`, `\u0000`, `%`, `_`, `like_regex ".*"`, `starts with "x"`, `/* x */`, `--`, `strict $`, `lax $`,
		"\n", "\r\n", "\t", "\b", "\x01", "\x7f", "\u2028", "\u202e", "\ufeff", "é", "e\u0301", "💩", "日本", "<&>", "''", "`", "?", "$1", ":x", "%s", strings.Repeat(`\"`, 90),
	}
	for _, s := range hostile {
		name := strings.ReplaceAll(s, ".", "·") // dots part names
		for document, meets := range map[string]string{
			`{"data.x":` + quote(s) + `}`:                  `{"data":{"x":` + quote(s) + `}}`,
			`{"data.x":{"in":[0,` + quote(s) + `]}}`:       `{"data":{"x":` + quote(s) + `}}`,
			`{"data.x":{"prefix":` + quote(s) + `}}`:       `{"data":{"x":` + quote(s+"more") + `}}`,
			`{` + quote("data."+name) + `:1}`:              `{"data":{` + quote(name) + `:1}}`,
			`{"not":{"data.x":{"in":[` + quote(s) + `]}}}`: `{"data":{"x":1}}`,
		} {
			if got := failing(t, db, document, meets); got != "" {
				t.Errorf("%s does not let %s through: %s", document, meets, got)
			}
			for _, other := range []string{`{"data":{"x":"x"}}`, `{"data":1}`, `{}`} {
				if got := failing(t, db, document, other); (got == "") != strings.HasPrefix(document, `{"not"`) {
					t.Errorf("%s on %s: clause %q", document, other, got)
				}
			}
		}
	}
}
