package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
)

const idempotencyKey = "Idempotency-Key"

// question is one generated request.
type question struct {
	op           *operation // that it is meant for; nil: none
	method, path string     // the path as it is sent, with the query
	header       http.Header
	body         []byte
	chunked      bool
}

// String is enough to ask again.
func (q question) String() string {
	header := q.header.Clone()
	header.Del("Authorization")
	return fmt.Sprintf("%s %s %v\n%s", q.method, shortened(q.path), header, shortened(string(q.body)))
}

func shortened(s string) string {
	if len(s) > 1500 {
		return fmt.Sprintf("%q… (%d bytes)", s[:1500], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// caller is an Authorization header and whether it lets in.
func (f *fuzzer) caller(r *rand.Rand) string {
	switch r.IntN(30) {
	case 0:
		return ""
	case 1:
		return pick(r, []string{"Bearer", "Bearer ", "Bearer x", "Basic eDp5", "Bearer " + marker, "Bearer snk_" + strings.Repeat("A", 43), "bearer  " + f.svc.token + " x", strings.Repeat("Bearer ", 2000)})
	case 2, 3:
		return "Bearer " + jwtFor(fmt.Sprint("viewer", r.IntN(40)), "viewer")
	case 4, 5:
		return "Bearer " + jwtFor(fmt.Sprint("admin", r.IntN(40)), "admin")
	case 6:
		return "Bearer " + f.svc.token
	}
	return "Bearer " + jwtFor(fmt.Sprint("super", r.IntN(400)), "super_admin")
}

// ask makes a request of an operation, as described; spoil breaks it.
func (f *fuzzer) ask(r *rand.Rand, op *operation) question {
	m := &maker{r, f.world, f.receiver}
	q := question{op: op, method: op.method, path: f.world.existing(r, op.path), header: http.Header{}}
	if caller := f.caller(r); caller != "" {
		q.header.Set("Authorization", caller)
	}
	if strings.HasSuffix(op.path, "/") && r.IntN(2) == 0 {
		q.path = strings.TrimSuffix(q.path, "/")
	}
	query := url.Values{}
	for _, p := range op.Parameters {
		if p.Value.In == "query" && (p.Value.Required || r.IntN(4) == 0) {
			query.Set(p.Value.Name, fmt.Sprint(m.value(p.Value.Name, p.Value.Schema.Value, 0)))
		}
		if p.Value.In == "header" && (p.Value.Required || r.IntN(3) == 0) {
			q.header.Set(p.Value.Name, f.headerValue(m, p.Value))
		}
	}
	if len(query) > 0 {
		q.path += "?" + query.Encode()
	}
	if bodies := op.bodies(); len(bodies) > 0 && (op.RequestBody.Value.Required || r.IntN(3) > 0) {
		q.header.Set("Content-Type", pick(r, bodies))
		q.body = encoded(f.bodyOf(m, op.RequestBody.Value.Content[q.header.Get("Content-Type")]))
	} else if op.method == http.MethodPost && r.IntN(200) == 0 { // a body that nobody asked for
		q.body = bytes.Repeat([]byte("x"), pick(r, []int{1, 1 << 20, 1<<20 + 1}))
	}
	return q
}

func (f *fuzzer) headerValue(m *maker, p *openapi3.Parameter) string {
	if p.Name == "If-Match" {
		return f.world.tag(m.Rand)
	}
	if p.Name == idempotencyKey && m.IntN(4) > 0 {
		return uuid.NewString()
	}
	if p.Name == idempotencyKey {
		return fmt.Sprint("key-", m.IntN(30))
	}
	return strings.Map(visible, fmt.Sprint(m.value(p.Name, p.Schema.Value, 0)))
}

func visible(c rune) rune {
	if c < ' ' || c > '~' {
		return '-'
	}
	return c
}

// bodyOf is an example of the description or made from its schema, as a tree.
func (f *fuzzer) bodyOf(m *maker, content *openapi3.MediaType) any {
	var examples []any
	for _, e := range content.Examples {
		examples = append(examples, e.Value.Value)
	}
	made := m.value("", content.Schema.Value, 0)
	if len(examples) == 0 || m.IntN(3) == 0 {
		return made
	}
	body := m.localized("", pick(m.Rand, examples), content.Schema.Value)
	object, ok := body.(map[string]any)
	more, also := made.(map[string]any)
	if ok && also && m.IntN(2) == 0 {
		for name, value := range more {
			if m.IntN(3) == 0 {
				object[name] = value
			}
		}
	}
	return body
}

func encoded(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // everything in it is JSON
	return bytes.TrimSpace(b.Bytes())
}

var foreign = regexp.MustCompile(`(?i)(https?:)?(\\?/){2}[^/\\"?#\s]*\.[a-z][^/\\"?#\s]*`)

// local makes sure that no URL in a body names another machine: the api would look
// its name up.
func (f *fuzzer) local(body []byte) []byte {
	if !bytes.Contains(body, []byte(`/`)) {
		return body
	}
	return foreign.ReplaceAll(body, []byte(f.receiver))
}
