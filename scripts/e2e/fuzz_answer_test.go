package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
)

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// check compares an answer with the description and returns what is wrong with it.
func (f *fuzzer) check(q question, got reply) error {
	if got.status == 0 {
		return nil // nothing came back, for a reason
	}
	if at := bytes.Index(withoutOwn(got), []byte(marker)); at >= 0 {
		return fmt.Errorf("a secret is in the answer: …%s", got.body[max(0, at-100):])
	}
	if got.header.Get("X-Request-Id") == "" {
		return ofServer(got)
	}
	if err := hasSafeHeaders(q, got.header); err != nil {
		return err
	}
	switch {
	case got.status >= http.StatusInternalServerError:
		return fmt.Errorf("status %d", got.status)
	case got.status == http.StatusMethodNotAllowed:
		return f.problem(q, got, f.anyProblem)
	case q.op == nil:
		return f.outside(q, got)
	}
	described := q.op.Responses.Status(got.status)
	if described == nil {
		return fmt.Errorf("status %d is not described", got.status)
	}
	for name, h := range described.Value.Headers {
		values := got.header.Values(name)
		if len(values) > 1 || (len(values) == 0 && h.Value.Required) {
			return fmt.Errorf("%d: header %s is there %d times", got.status, name, len(values))
		}
	}
	return f.content(q, got, described.Value.Content)
}

var ownSecret = regexp.MustCompile(`"secret_key":"[^"]*` + marker + `[^"]*"`)

// withoutOwn is the body of an answer without the new secret that a rotation shows.
func withoutOwn(got reply) []byte {
	if got.status != http.StatusOK {
		return got.body
	}
	return ownSecret.ReplaceAll(got.body, nil)
}

// hasSafeHeaders: no browser guesses what an answer is, nobody keeps it, and it does
// not say what made it.
func hasSafeHeaders(q question, h http.Header) error {
	cached := strings.HasPrefix(q.path, "/docs") || strings.HasPrefix(q.path, "/openapi.yaml")
	if h.Get("X-Content-Type-Options") != "nosniff" || (h.Get("Cache-Control") != "no-store" && !cached) || h.Get("Server") != "" || h.Get("Access-Control-Allow-Origin") != "" {
		return fmt.Errorf("headers %v", h)
	}
	return nil
}

func (f *fuzzer) content(q question, got reply, described openapi3.Content) error {
	if len(got.body) == 0 && (len(described) == 0 || q.method == http.MethodHead) {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(got.header.Get("Content-Type"))
	if err != nil || described[mediaType] == nil {
		return fmt.Errorf("%d: content type %q is not described", got.status, got.header.Get("Content-Type"))
	}
	if mediaType == "application/problem+json" {
		return f.problem(q, got, described[mediaType].Schema)
	}
	return f.fits(q, got, described[mediaType].Schema)
}

// outside is for what is not described: paths that do not exist, and the documents.
func (f *fuzzer) outside(q question, got reply) error {
	switch got.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound: // two slashes have an empty id between them
		return f.problem(q, got, f.anyProblem)
	case http.StatusNoContent:
		if q.method == http.MethodOptions && got.header.Get("Allow") != "" {
			return nil
		}
	case http.StatusOK, http.StatusNotModified:
		if strings.HasPrefix(q.path, "/docs") || strings.HasPrefix(q.path, "/openapi.yaml") {
			return nil
		}
	}
	return fmt.Errorf("status %d of a path or method that does not exist", got.status)
}

// ofServer is an answer that net/http gave before the api saw the request.
func ofServer(got reply) error {
	if got.status == http.StatusBadRequest || got.status == http.StatusRequestHeaderFieldsTooLarge {
		return nil
	}
	return fmt.Errorf("status %d without X-Request-Id", got.status)
}

func (f *fuzzer) problem(q question, got reply, schema *openapi3.SchemaRef) error {
	if q.method == http.MethodHead {
		return nil
	}
	var p struct {
		Title, Detail, Code string
		Status              int
		Errors              []struct{ Code string }
		RequestID           string `json:"request_id"`
	}
	if err := json.Unmarshal(got.body, &p); err != nil {
		return fmt.Errorf("%d: not a problem document: %w", got.status, err)
	}
	if p.Title != http.StatusText(got.status) || p.Status != got.status || p.RequestID != got.header.Get("X-Request-Id") || uuid.Validate(p.RequestID) != nil {
		return fmt.Errorf("%d: not the problem document of this answer", got.status)
	}
	if len(p.Errors) == 1 && p.Code != p.Errors[0].Code {
		return fmt.Errorf("%d: code %s, but its one error is %s", got.status, p.Code, p.Errors[0].Code)
	}
	return f.fits(q, got, schema)
}

var changing = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// zero puts 0 in the place of every digit.
func zero(c rune) rune {
	if c >= '0' && c <= '9' {
		return '0'
	}
	return c
}

// fits checks a body against its schema. Bodies that differ by ids and digits alone
// are checked once: a check takes longer than an answer.
func (f *fuzzer) fits(q question, got reply, schema *openapi3.SchemaRef) error {
	sum := fnv.New64a()
	_, _ = fmt.Fprint(sum, q.op, got.status)
	_, _ = sum.Write(bytes.Map(zero, changing.ReplaceAll(got.body, nil)))
	if _, known := f.fitting.Load(sum.Sum64()); known {
		return nil
	}
	var v any
	if err := json.Unmarshal(got.body, &v); err != nil {
		return fmt.Errorf("%d: %w", got.status, err)
	}
	if err := schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.EnableFormatValidation()); err != nil {
		return fmt.Errorf("%d: not as described: %w", got.status, err)
	}
	f.fitting.Store(sum.Sum64(), true)
	return nil
}

// textsThatStay are the fields that are stored as they are or refused.
var textsThatStay = []string{"name", "display_name", "description", "full_name", "industry"}

// stays checks that a text which was taken is answered as it was sent.
func stays(q question, got reply) error {
	if q.op == nil || q.op.RequestBody == nil || got.status >= 300 {
		return nil
	}
	var sent, shown map[string]any
	if errors.Join(json.Unmarshal(q.body, &sent), json.Unmarshal(got.body, &shown)) != nil {
		return nil //nolint:nilerr // other checks say so, if it is wrong
	}
	for _, name := range textsThatStay {
		was, given := sent[name].(string)
		is, answered := shown[name].(string)
		if given && answered && was != is {
			return fmt.Errorf("%d: %s was %q and became %q", got.status, name, was, is)
		}
	}
	return nil
}
