package httpapi

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// strangeIDs are no ids, or ids of nothing.
func strangeIDs() map[string]string {
	id := uuid.Must(uuid.NewV7()).String()
	return map[string]string{
		"of version 7": id, "of version 4": uuid.NewString(), "nil": uuid.Nil.String(), "max": uuid.Max.String(),
		"a number": "1", "a negative number": "-1", "a word": "x", "dots": "..", "encoded dots": "%2e%2e", "NUL": "%00", "a line break": "%0d%0a", "a blank": "%20",
		"SQL": "%27%20OR%201=1--", "an emoji": "%F0%9F%92%A9", "no UTF-8": "%ff", "encoded slashes": "..%2f..%2fx", "null": "null", "a star": "*", "a parameter": ":id", "a per cent sign": "%25",
		"in braces": "{" + id + "}", "a URN": "urn:uuid:" + id, "without hyphens": strings.ReplaceAll(id, "-", ""), "a character more": id + "0", "a character less": id[1:], "long": strings.Repeat("9", 4000),
	}
}

var aParameter = regexp.MustCompile(`\{\w+\}`)

// withoutThing are the paths of an operation in which an id, one after the other, is
// that of nothing that is there: strange, of something deleted, or of something else.
// existing is one that would be found.
func (a *api) withoutThing(t *testing.T, o operation, existing string) map[string]string {
	t.Helper()
	good := strings.Split(existing, "/")
	strange := strangeIDs()
	for name, path := range a.others(t) {
		if !strings.HasPrefix(o.path, path[:strings.LastIndexByte(path, '/')+1]) { // of another kind
			strange[name] = path[strings.LastIndexByte(path, '/')+1:]
		}
	}
	strange["of a deleted endpoint"] = a.deleted(t)
	all := map[string]string{}
	for i, part := range strings.Split(o.path, "/") {
		if !aParameter.MatchString(part) {
			continue
		}
		for name, id := range strange {
			path := append([]string(nil), good...)
			path[i] = id
			all[part+" "+name] = strings.Join(path, "/")
		}
	}
	return all
}

// others are things of several kinds, by what they are.
func (a *api) others(t *testing.T) map[string]string {
	t.Helper()
	made := map[string]string{}
	for name, c := range map[string]call{
		"of another organization": {path: organizationsPath, body: `{"name":"B","domain":"` + uuid.NewString()[:8] + `.example","primary_contact_email":"b@example.com"}`},
		"of another endpoint":     {path: endpointsPath, body: `{"name":"B","url":"` + hook + `","events":["*"]}`},
		"of an API key":           {path: keysPath, body: `{"name":"B","role":"viewer"}`},
	} {
		made[name] = a.post(t, c.path, c.body).header.Get("Location")
	}
	return made
}

func (a *api) deleted(t *testing.T) string {
	t.Helper()
	location := a.others(t)["of another endpoint"]
	if got := a.do(t, call{method: http.MethodDelete, path: location, key: bootstrapKey}); got.status != http.StatusNoContent {
		t.Fatalf("%d %s", got.status, got.body)
	}
	return strings.TrimPrefix(location, endpointsPath+"/")
}

// Every operation about something answers the same bytes, whether an id is malformed,
// of nothing, of something deleted, or of something that is not what the path says:
// nobody learns by asking what there is elsewhere.
func TestIDsThatAreNotThereCannotBeToldApart(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, o := range operations(t) {
		if !aParameter.MatchString(o.path) {
			continue
		}
		tried++
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.testLimits.requests = 0
			c := a.examples(t, o)[0]
			c.header = map[string]string{"X-Request-Id": "6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11"}
			first := ""
			for name, path := range a.withoutThing(t, o, c.path) {
				c.path = path
				got := a.do(t, c)
				got.problem(t, http.StatusNotFound, "not_found")
				if first == "" {
					first = got.body
				}
				if got.body != first {
					t.Errorf("%s: %s, not %s", name, got.body, first)
				}
			}
		})
	}
	if tried < 10 {
		t.Errorf("only %d operations are about something", tried)
	}
}
