package e2e_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// operation is one of the description that the built api prints.
type operation struct {
	*openapi3.Operation
	method, path string
}

func (o operation) String() string { return o.method + " " + o.path }

// describedBy asks the built program what it can do, so that an operation that is
// added is asked for without a word here.
func describedBy(t *testing.T, s *service) (*openapi3.T, []operation) {
	t.Helper()
	code, text, stderr := s.run("api", "openapi")
	if code != 0 {
		t.Fatalf("api openapi: exit code %d: %s", code, stderr)
	}
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var all []operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			all = append(all, operation{op, method, path})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return cmp.Compare(a.String(), b.String()) })
	return doc, all
}

// bodies are the media types that the operation takes, in their order.
func (o operation) bodies() []string {
	if o.RequestBody == nil {
		return nil
	}
	var all []string
	for mediaType := range o.RequestBody.Value.Content {
		all = append(all, mediaType)
	}
	slices.Sort(all)
	return all
}

// matches says whether a path is one of the template's.
func matches(template, path string) bool { return fitted(segments(template), segments(path)) }

// reaches is how the router sees it: an id that ends a path takes all that follows.
func reaches(template, path string) bool {
	t, p := segments(template), segments(path)
	if len(p) > len(t) && isParameter(t[len(t)-1]) {
		p = p[:len(t)]
	}
	return fitted(t, p)
}

func fitted(template, path []string) bool {
	return slices.EqualFunc(template, path, func(want, got string) bool { return want == got || (isParameter(want) && got != "") })
}

func segments(path string) []string { return strings.Split(strings.TrimSuffix(path, "/"), "/") }

func isParameter(segment string) bool { return strings.HasPrefix(segment, "{") }

// placesOf are the beginnings of a template that end in a parameter, the longest
// first: for each, something may exist.
func placesOf(template string) []string {
	var all []string
	parts := segments(template)
	for i := len(parts); i > 0; i-- {
		if isParameter(parts[i-1]) {
			all = append(all, strings.Join(parts[:i], "/"))
		}
	}
	return all
}
