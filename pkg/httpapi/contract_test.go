package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// description is openapi.yaml, parsed and checked once for all tests.
var description = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(OpenAPI()))
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

func described(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// operation is one of the description, by its method and path.
type operation struct {
	*openapi3.Operation
	method, path string
}

func (o operation) String() string { return o.method + " " + o.path }

func operations(t *testing.T) []operation {
	t.Helper()
	var all []operation
	for path, item := range described(t).Paths.Map() {
		for method, op := range item.Operations() {
			all = append(all, operation{op, method, path})
		}
	}
	return all
}

// body is what the operation takes; nil: nothing.
func (o operation) body() *openapi3.MediaType {
	if o.RequestBody == nil {
		return nil
	}
	return o.RequestBody.Value.Content["application/json"]
}

var parameter = regexp.MustCompile(`:(\w+)`)

// templateOf is how the description writes a path of the router.
func templateOf(path string) string { return parameter.ReplaceAllString(path, "{$1}") }

func TestEveryRouteIsDescribedAndTheReverse(t *testing.T) {
	t.Parallel()
	var routes, described []string
	for _, r := range new(Server).routes() {
		routes = append(routes, r.method+" "+templateOf(r.path)+" for "+string(r.role))
	}
	role := regexp.MustCompile("Needs the role `([a-z_]+)`\\.")
	for _, o := range operations(t) {
		named := role.FindStringSubmatch(o.Description)
		if named == nil {
			t.Errorf("%s: the description names no role", o)
			continue
		}
		described = append(described, o.String()+" for "+named[1])
	}
	slices.Sort(routes)
	slices.Sort(described)
	if diff := cmp.Diff(routes, described); diff != "" {
		t.Errorf("(-routes +openapi.yaml)\n%s", diff)
	}
}

// A route that is mounted by another way than the table of contents would escape
// the test above.
func TestOnlyTheTableAndTheDocumentsAreMounted(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	s := New(Options{})
	for _, r := range s.routes() {
		known[strings.TrimSuffix(r.path, "/")] = true
	}
	for _, r := range s.echo.Routes() {
		if !known[strings.TrimSuffix(r.Path, "/")] && !isDocument(r.Path) {
			t.Errorf("%s %s is mounted, but in no list", r.Method, r.Path)
		}
	}
}

func isDocument(path string) bool {
	return slices.ContainsFunc(documents, func(f file) bool { return f.path == path })
}

// keeps checks an answer against the description: its status, media type, headers
// and body. [api.do] calls it, so every test of this package is one of the contract.
// Paths and methods that the API does not have are not described.
func (a *api) keeps(t *testing.T, c call, got answer) {
	t.Helper()
	op, known := a.find(t, c)
	if !known {
		return
	}
	answer := op.Responses.Status(got.status)
	if answer == nil {
		t.Errorf("%s: status %d is not described: %s", op, got.status, got.body)
		return
	}
	if err := hasContent(answer.Value.Content, got); err != nil {
		t.Errorf("%s: %d: %v\n%s", op, got.status, err, got.body)
	}
	for name, h := range answer.Value.Headers {
		if err := fitsText(h.Value.Schema, h.Value.Required, got.header[http.CanonicalHeaderKey(name)]); err != nil {
			t.Errorf("%s: %d: header %s: %v", op, got.status, name, err)
		}
	}
	if content := op.body(); content != nil && got.status < 300 && (c.body != "" || op.RequestBody.Value.Required) {
		if err := fits(content.Schema, c.body); err != nil {
			t.Errorf("%s: taken, but not as described: %v\n%s", op, err, c.body)
		}
	}
}

// hasContent checks the content type and the body, which must be empty when none is described.
func hasContent(described openapi3.Content, got answer) error {
	if len(described) == 0 && got.body == "" {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(got.header.Get("Content-Type"))
	if err != nil {
		return err
	}
	if described[mediaType] == nil {
		return fmt.Errorf("%s is not described", mediaType)
	}
	return fits(described[mediaType].Schema, got.body)
}

// find is the operation that the router takes a call to.
func (a *api) find(t *testing.T, c call) (operation, bool) {
	t.Helper()
	u, err := url.Parse(c.path)
	if err != nil {
		t.Fatal(err)
	}
	route := a.echo.NewContext(nil, nil)
	a.echo.Router().Find(c.method, u.EscapedPath(), route)
	path := templateOf(route.Path())
	for _, form := range []string{path, path + "/"} {
		if item := described(t).Paths.Value(form); item != nil && item.GetOperation(c.method) != nil {
			return operation{item.GetOperation(c.method), c.method, form}, true
		}
	}
	return operation{}, false
}

func fits(schema *openapi3.SchemaRef, body string) error {
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return err
	}
	return schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors(), openapi3.EnableFormatValidation())
}

// fitsText checks the values of a header.
func fitsText(schema *openapi3.SchemaRef, required bool, values []string) error {
	switch {
	case len(values) == 0 && !required:
		return nil
	case len(values) != 1:
		return fmt.Errorf("is there %d times", len(values))
	case schema.Value.Type.Is("integer"):
		return fits(schema, values[0])
	}
	return fits(schema, strconv.Quote(values[0]))
}

// mishap is a way to ask for trouble that all operations of a kind share.
type mishap struct {
	status  int
	applies func(operation) bool
	server  string // "", broken, away or exhausted
	change  func(*call)
	before  string // a statement for the database; "": none
}

func everything(operation) bool     { return true }
func needsBooks(o operation) bool   { return !slices.Contains(bookless, o.OperationID) }
func needsNoBooks(o operation) bool { return !needsBooks(o) }
func takesBody(o operation) bool    { return o.body() != nil }
func takesID(o operation) bool      { return strings.Contains(o.path, "{id}") }
func takesKey(o operation) bool     { return o.Parameters.GetByInAndName("header", keyHeader) != nil }

func takesQuery(o operation) bool {
	return slices.ContainsFunc(o.Parameters, func(p *openapi3.ParameterRef) bool { return p.Value.In == "query" })
}

func takesMatch(o operation) bool { return o.Parameters.GetByInAndName("header", "If-Match") != nil }

func withKey(k string) func(*call) {
	return func(c *call) { c.header = map[string]string{keyHeader: k} }
}
func unchanged(*call)               {}
func withBody(b string) func(*call) { return func(c *call) { c.body = b } }

// bookless operations look into the database for nothing but the caller's key.
var bookless = []string{"testURL", "listEventTypes", "getEgress"}

func is(id string) func(operation) bool {
	return func(o operation) bool { return o.OperationID == id }
}

// turnsReplay: a replay that has ended stays as it is.
func turnsReplay(o operation) bool { return strings.HasPrefix(o.path, replaysPath+"/{id}/") }

// notForAll: the role that an operation needs is not the least.
func notForAll(o operation) bool { return !strings.Contains(o.Description, "`viewer`") }

// unreadable is what an endpoint has whose key of encryption was lost.
const unreadable = `UPDATE sonicus.endpoints SET headers = 'v1.lost.AAAA.AAAA', secret = 'v1.lost.AAAA.AAAA', secret_last4 = 'AAAA'`

// namesDomain: the domain of an organization is unique.
func namesDomain(o operation) bool {
	return o.method == http.MethodPost && takesBody(o) && slices.ContainsFunc(parts(o.body().Schema), func(s *openapi3.Schema) bool { return s.Properties["domain"] != nil })
}

func mishaps(viewer string) []mishap {
	huge := strings.Repeat(" ", maxBody+1)
	return []mishap{
		{400, takesBody, "", withBody("{"), ""},
		{401, everything, "", func(c *call) { c.key = "" }, ""},
		{403, notForAll, "", func(c *call) { c.key = viewer }, ""},
		{404, takesID, "", func(c *call) { c.path = id.ReplaceAllString(c.path, uuid.NewString()) }, ""},
		{200, is("createEndpoint"), "", unchanged, ""}, // its uid is known by now
		{409, is("createEndpoint"), "", withBody(`{"uid":"erp","organization_id":"` + uuid.NewString() + `","url":"` + hook + `","events":["*"],"name":"A"}`), ""},
		{409, namesDomain, "", unchanged, ""},
		{409, is("updateOrganization"), "", withBody(`{"domain":"taken.example"}`), `INSERT INTO sonicus.organizations (id, name, display_name, domain, primary_contact_email, subscription_tier, subscription_status, max_users, created_at, updated_at)
			VALUES (gen_random_uuid(), 'A', 'A', 'taken.example', 'a@taken.example', 'starter', 'active', 1, now(), now())`},
		{409, is("addUser"), "", unchanged, ""}, // the address is taken by now
		{409, is("updateUser"), "", withBody(`{"email":"TAKEN@example.com"}`), `INSERT INTO sonicus.users (id, organization_id, email, full_name, role, created_at, updated_at)
			SELECT gen_random_uuid(), organization_id, 'taken@example.com', 'A', 'member', now(), now() FROM sonicus.users`},
		{409, is("updateEndpoint"), "", withBody(`{"headers":{"X-Tenant":"acme"}}`), unreadable},
		{409, is("rotateSecret"), "", unchanged, unreadable},
		{409, is("testEndpoint"), "", unchanged, unreadable},
		{409, is("retryDelivery"), "", unchanged, `UPDATE sonicus.deliveries SET status = 'sent', delivered_at = now()`},
		{409, turnsReplay, "", unchanged, `UPDATE sonicus.replays SET state = 'done', finished_at = now()`},
		{409, is("cancelDelivery"), "", unchanged, ""}, // the example is canceled by now
		{409, takesKey, "", withKey("held"), `INSERT INTO sonicus.idempotency_keys (caller, key, id, created_at) VALUES ('name:bootstrap', 'held', gen_random_uuid(), now())`},
		{412, takesMatch, "", func(c *call) { c.header = map[string]string{"If-Match": `"0"`} }, ""},
		{413, takesBody, "", withBody(huge), ""},
		{413, takesKey, "", func(c *call) { c.body, c.header = huge, map[string]string{keyHeader: "huge"} }, ""}, // where there is a key, it is part of the request
		{415, takesBody, "", func(c *call) { c.header = map[string]string{"Content-Type": "text/plain"} }, ""},
		{422, takesBody, "", withBody(`{"nick":"x"}`), ""},
		{422, takesKey, "", withKey("two words"), ""},
		{422, takesQuery, "", func(c *call) { c.path += "?limit=0" }, ""},
		{429, everything, "exhausted", unchanged, ""},
		{500, needsBooks, "broken", unchanged, ""},
		{500, needsNoBooks, "broken", func(c *call) { c.key = viewer }, ""},
		{503, needsBooks, "away", unchanged, ""},
		{503, needsNoBooks, "away", func(c *call) { c.key = viewer }, ""},
	}
}

var id = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

func TestEveryDescribedAnswerOccurs(t *testing.T) {
	t.Parallel()
	broken, away := newAPI(t), newAPIOn(t, unreachable(t))
	broken.change(t, `ALTER SCHEMA sonicus RENAME TO hidden`)
	exhausted := newAPIOn(t, unreachable(t))
	exhausted.exhaust()
	for _, o := range operations(t) {
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			a := newAPI(t) // its own: the examples of several operations are about the same domain
			viewer := a.callers(t)["viewer"].key
			servers := map[string]*api{"": a, "broken": broken, "away": away, "exhausted": exhausted}
			occurred := map[string]bool{}
			good := a.examples(t, o)
			for _, c := range good {
				got := a.do(t, c)
				if got.status >= 300 {
					t.Errorf("the example is refused: %d %s", got.status, got.body)
				}
				occurred[strconv.Itoa(got.status)] = true
			}
			for _, m := range mishaps(viewer) {
				if !m.applies(o) {
					continue
				}
				c := good[0]
				if o.method == http.MethodDelete {
					c.path = a.existing(t, o.path) // the example has deleted its own
				}
				if m.before != "" {
					a.change(t, m.before)
				}
				m.change(&c)
				got := servers[m.server].do(t, c)
				if got.status != m.status {
					t.Errorf("got %d, want %d: %s", got.status, m.status, got.body)
				}
				occurred[strconv.Itoa(got.status)] = true
			}
			want := slices.Sorted(maps.Keys(o.Responses.Map()))
			if diff := cmp.Diff(want, slices.Sorted(maps.Keys(occurred))); diff != "" {
				t.Errorf("(-described +occurred)\n%s", diff)
			}
		})
	}
}

// exhaust lets the bootstrap key ask for nothing any more, however slow the test is.
func (a *api) exhaust() {
	spent := rate.NewLimiter(rate.Every(24*time.Hour), 1)
	spent.Allow()
	a.limits.requests = 1
	a.limits.recent = map[string]*rate.Limiter{access.Principal{Name: "bootstrap"}.Caller(): spent}
	a.limits.begun = time.Now().Add(time.Hour) // until then nobody is forgotten
}

// examples are the calls that the description shows, made by a super admin.
func (a *api) examples(t *testing.T, o operation) []call {
	t.Helper()
	c := call{method: o.method, path: a.existing(t, o.path), key: bootstrapKey}
	if o.body() == nil {
		return []call{c}
	}
	var all []call
	if !o.RequestBody.Value.Required {
		all = append(all, c)
	}
	for _, name := range slices.Sorted(maps.Keys(o.body().Examples)) {
		body, err := json.Marshal(o.body().Examples[name].Value.Value)
		if err != nil {
			t.Fatal(err)
		}
		c.body = string(body)
		all = append(all, c)
	}
	return all
}

// existing puts into a path the id of something that the collection before it holds.
func (a *api) existing(t *testing.T, path string) string {
	t.Helper()
	collection, rest, one := strings.Cut(path, "/{id}")
	if !one {
		return path
	}
	if collection == deliveriesPath { // which are made by what happens elsewhere
		return collection + "/" + a.delivery(t) + rest
	}
	if collection == eventsPath {
		return collection + "/" + a.event(t) + rest
	}
	if collection == organizationsPath { // each with a domain of its own
		of := a.organization(t)
		if users, rest, one := strings.Cut(rest, "/{user_id}"); one {
			return a.post(t, of+users, `{"email":"ada@example.com","full_name":"Ada Lovelace"}`).header.Get("Location") + rest
		}
		return of + rest
	}
	for _, o := range operations(t) {
		if o.method == http.MethodPost && strings.TrimSuffix(o.path, "/") == collection {
			made := a.do(t, a.examples(t, o)[0])
			return made.header.Get("Location") + rest
		}
	}
	t.Fatalf("nothing can be made for %s", path)
	return ""
}

// What no other test asks of the server.
func TestRareFaultsAreDescribedToo(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for code, body := range map[string]string{
		"too_deep":      strings.Repeat("[", maxDepth+1),
		"wrong_type":    "[]",
		"duplicate_key": `{"url":"` + hook + `","events":["*"],"name":"A","name":"B"}`,
		"invalid_utf8":  `{"url":"` + hook + `","events":["*"],"name":"\ud800"}`,
		"too_many":      `{"url":"` + hook + `","events":["*"` + strings.Repeat(`,"*"`, 50) + `],"name":"A"}`,
	} {
		if got := a.post(t, endpointsPath, body); !strings.Contains(got.body, `"code":"`+code+`"`) {
			t.Errorf("%s: %d %s", code, got.status, got.body)
		}
	}
}

func TestEveryOperationShowsExamples(t *testing.T) {
	t.Parallel()
	for _, o := range operations(t) {
		if o.body() != nil && len(o.body().Examples) == 0 {
			t.Errorf("%s: no example of a request", o)
		}
		for status, answer := range o.Responses.Map() {
			for mediaType, content := range answer.Value.Content {
				if len(content.Examples) == 0 {
					t.Errorf("%s: no example of %s %s", o, status, mediaType)
				}
			}
		}
	}
}

// An object that is not closed would let any property pass the contract.
func TestEveryDescribedObjectIsClosed(t *testing.T) {
	t.Parallel()
	for _, o := range operations(t) {
		if o.body() != nil {
			closed(t, o.String(), parts(o.body().Schema))
		}
		for status, answer := range o.Responses.Map() {
			for _, content := range answer.Value.Content {
				closed(t, o.String()+" "+status, parts(content.Schema))
			}
		}
	}
	for name, item := range described(t).Webhooks {
		closed(t, name, parts(item.Post.RequestBody.Value.Content["application/json"].Schema))
	}
}

// parts are a schema and all that hold together with it.
func parts(ref *openapi3.SchemaRef) []*openapi3.Schema {
	all := []*openapi3.Schema{ref.Value}
	for _, part := range ref.Value.AllOf {
		all = append(all, parts(part)...)
	}
	return all
}

func closed(t *testing.T, path string, schemas []*openapi3.Schema) {
	t.Helper()
	inner, isClosed := map[string][]*openapi3.Schema{}, false
	for _, s := range schemas {
		isClosed = isClosed || forbids(s.AdditionalProperties) || forbids(s.UnevaluatedProperties)
		for name, property := range s.Properties {
			inner[name] = append(inner[name], parts(property)...)
		}
		if s.Items != nil {
			inner["[]"] = append(inner["[]"], parts(s.Items)...)
		}
	}
	_, isArray := inner["[]"]
	if len(inner) > 0 && !isArray && !isClosed {
		t.Errorf("%s takes any property", path)
	}
	for name, property := range inner {
		closed(t, path+"."+name, property)
	}
}

func forbids(more openapi3.BoolSchema) bool { return more.Has != nil && !*more.Has }

func TestDescribedRangesAreTheRealOnes(t *testing.T) {
	t.Parallel()
	schemas := described(t).Components.Schemas
	for object, ranges := range map[string]map[string]endpoint.Range{
		"SubscriptionFields": {"max_users": organization.MaxUsers},
		"NewAPIKey":          {"expires_in_seconds": {Low: 1, High: math.MaxInt32}},
		"Rotation":           {"overlap_seconds": endpoint.OverlapSeconds},
		"EndpointSettings": {
			"timeout_seconds": endpoint.TimeoutSeconds, "max_retries": endpoint.MaxRetries, "rate_limit": endpoint.RateLimit, "max_concurrency": endpoint.MaxConcurrency,
			"breaker_failures": endpoint.BreakerFailures, "breaker_max_open_seconds": endpoint.BreakerMaxOpenSeconds,
		},
	} {
		for name, want := range ranges {
			s := schemas[object].Value.Properties[name].Value
			if s.Min == nil || s.Max == nil || *s.Min != float64(want.Low) || *s.Max != float64(want.High) {
				t.Errorf("%s.%s: want %d to %d", object, name, want.Low, want.High)
			}
		}
	}
	wait := schemas["EndpointSettings"].Value.Properties["retry_schedule"].Value.Items.Value
	if *wait.Min != float64(endpoint.RetryWait.Low) || *wait.Max != float64(endpoint.RetryWait.High) {
		t.Errorf("retry_schedule: %v to %v", *wait.Min, *wait.Max)
	}
	limit := described(t).Components.Parameters["Limit"].Value.Schema.Value
	if *limit.Max != maxLimit || limit.Default != float64(defaultLimit) {
		t.Errorf("limit: up to %v, default %v", *limit.Max, limit.Default)
	}
}

// The defaults are asked of the server: it fills in what a request leaves out.
func TestDescribedDefaultsAreTheRealOnes(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for path, object := range map[string]string{organizationsPath: "SubscriptionFields", endpointsPath: "EndpointSettings"} {
		made := a.post(t, path, collections[path](1)).json(t, 201)
		for name, property := range described(t).Components.Schemas[object].Value.Properties {
			if want := property.Value.Default; want != nil && made[name] != want {
				t.Errorf("%s.%s: got %v, described %v", object, name, made[name], want)
			}
		}
	}
}

func TestDescribedEventTypesAreTheRealOnes(t *testing.T) {
	t.Parallel()
	doc := described(t)
	var patterns []string
	for _, eventType := range event.Types() {
		patterns = append(patterns, event.Patterns(eventType)...)
	}
	slices.Sort(patterns)
	var listed []string
	for _, p := range doc.Components.Schemas["EventPattern"].Value.Enum {
		listed = append(listed, p.(string))
	}
	slices.Sort(listed)
	if diff := cmp.Diff(slices.Compact(patterns), listed); diff != "" {
		t.Error(diff)
	}
	types := slices.Sorted(slices.Values(event.Types()))
	if diff := cmp.Diff(types, slices.Sorted(maps.Keys(doc.Webhooks))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(types, slices.Sorted(slices.Values(words(doc, "EventType")))); diff != "" {
		t.Error(diff)
	}
}

func TestDescribedReasonsOfANextAttemptAreTheRealOnes(t *testing.T) {
	t.Parallel()
	var listed []string
	for _, w := range described(t).Components.Schemas["NextAttempt"].Value.Properties["because"].Value.Enum {
		listed = append(listed, w.(string))
	}
	if diff := cmp.Diff(outbox.Becauses(), listed); diff != "" {
		t.Error(diff)
	}
}

func TestDescribedFiltersAreTheRealOnes(t *testing.T) {
	t.Parallel()
	doc := described(t)
	if diff := cmp.Diff(endpoint.Healths(), words(doc, "Health")); diff != "" {
		t.Error(diff)
	}
	var windows []string
	for _, w := range outbox.Windows() {
		windows = append(windows, w.Name)
	}
	if diff := cmp.Diff(windows, words(doc, "Window")); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"UID", "Text", "Actor", "Action", "ObjectType", "ObjectID", "FailureReason"} {
		if s := doc.Components.Parameters[name].Value.Schema.Value; s.MinLength != 1 || s.MaxLength == nil || *s.MaxLength != maxParam {
			t.Errorf("%s: want 1 to %d bytes", name, maxParam)
		}
	}
	a := newAPI(t)
	for path, values := range map[string]map[string]string{
		organizationsPath + "/": {"domain": "example.com"},
		endpointsPath:           {"active": "true", "organization_id": uuid.NewString(), "event": event.Types()[0], "health": "ok", "uid": "x", "q": "x"},
		deliveriesPath: {
			"endpoint_id": uuid.NewString(), "event_id": uuid.NewString(), "organization_id": uuid.NewString(), "event_type": event.Types()[0], "status": "failed,sent",
			"failure_reason": "exhausted", "http_status_code": "503", "test": "true", "since": "2025-08-07T16:20:52Z", "until": "2025-08-07T16:20:52Z",
		},
		eventsPath:               {"organization_id": uuid.NewString(), "event_type": event.Types()[0], "since": "2025-08-07T16:20:52Z", "until": "2025-08-07T16:20:52Z"},
		statsPath:                {"window": "7d", "endpoint_id": uuid.NewString()},
		statsPath + "/endpoints": {"window": "1h"},
		trailPath: {
			"actor": "x", "action": "x", "object_type": "x", "object_id": "x",
			"since": "2025-08-07T16:20:52Z", "until": "2025-08-07T16:20:52Z",
		},
	} {
		for _, p := range doc.Paths.Value(path).Get.Parameters {
			if name := p.Value.Name; name != "limit" && name != "cursor" {
				a.get(t, path+"?"+name+"="+values[name]).json(t, 200)
				delete(values, name)
			}
		}
		if len(values) > 0 {
			t.Errorf("%s: not described: %v", path, values)
		}
	}
}

// words are the values that a parameter of the query takes.
func words(doc *openapi3.T, parameter string) []string {
	var all []string
	for _, w := range doc.Components.Parameters[parameter].Value.Schema.Value.Enum {
		all = append(all, w.(string))
	}
	return all
}

func TestWhatIsSentIsAsDescribed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	organization := event.Organization{ID: uuid.New(), Name: "A", SubscriptionStatus: "active", CreatedAt: event.Timestamp(now)}
	endpoint := event.Endpoint{ID: uuid.New(), URL: "https://example.com/?token=x"}
	disabled := event.DisabledEndpoint{Endpoint: endpoint, DisabledReason: event.DisabledGone, DisabledAt: event.Timestamp(now)}
	member := event.Member{ID: uuid.New(), OrganizationID: organization.ID, Role: "member", CreatedAt: event.Timestamp(now)}
	delivery := event.Delivery{ID: uuid.New(), EventID: uuid.New(), EventType: event.OrganizationCreated, AttemptCount: 1, FailureReason: event.BlockedAddress, CreatedAt: event.Timestamp(now)}
	for name, seal := range map[string]func() (event.Envelope, error){
		"created": func() (event.Envelope, error) {
			return event.NewOrganizationCreated(uuid.New(), now, organization, nil)
		},
		"onboarded": func() (event.Envelope, error) {
			return event.NewOrganizationCreated(uuid.New(), now, organization, &event.User{ID: uuid.New()})
		},
		"updated": func() (event.Envelope, error) {
			return event.NewOrganizationUpdated(uuid.New(), now, organization, event.FormerOrganization{Name: new("B"), Industry: new((*string)(nil))})
		},
		"deleted":    func() (event.Envelope, error) { return event.NewOrganizationDeleted(uuid.New(), now, organization) },
		"user added": func() (event.Envelope, error) { return event.NewUserCreated(uuid.New(), now, organization, member) },
		"user changed": func() (event.Envelope, error) {
			return event.NewUserUpdated(uuid.New(), now, organization, member, event.FormerMember{Role: new("admin")})
		},
		"user deleted": func() (event.Envelope, error) { return event.NewUserDeleted(uuid.New(), now, organization, member) },
		"subscription": func() (event.Envelope, error) {
			return event.NewSubscriptionChanged(uuid.New(), now, organization, event.FormerSubscription{MaxUsers: new(1), TrialEndDate: new((*event.Timestamp)(nil))})
		},
		"disabled": func() (event.Envelope, error) { return event.NewEndpointDisabled(uuid.New(), now, disabled) },
		"recovered": func() (event.Envelope, error) {
			return event.NewEndpointRecovered(uuid.New(), now, event.RecoveredEndpoint{Endpoint: endpoint, RecoveredAt: event.Timestamp(now)})
		},
		"exhausted": func() (event.Envelope, error) { return event.NewDeliveryExhausted(uuid.New(), now, delivery, endpoint) },
	} {
		for signed, keys := range map[string][][]byte{"signed": {make([]byte, 32), make([]byte, 24)}, "unsigned": nil} {
			t.Run(name+" "+signed, func(t *testing.T) {
				t.Parallel()
				envelope, err := seal()
				if err != nil {
					t.Fatal(err)
				}
				described := described(t).Webhooks[envelope.Type].Post
				if err := fits(described.RequestBody.Value.Content["application/json"].Schema, string(envelope.Payload)); err != nil {
					t.Errorf("%v\n%s", err, envelope.Payload)
				}
				checkSent(t, described, sent(t, envelope, keys), keys != nil)
			})
		}
	}
}

// sent is what a receiver gets to see of an event.
func sent(t *testing.T, e event.Envelope, keys [][]byte) http.Header {
	t.Helper()
	headers := make(chan http.Header, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { headers <- r.Header }))
	defer receiver.Close()
	policy := webhook.Policy{AllowHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	sender, err := webhook.NewSender(webhook.Options{Guard: webhook.NewGuard(policy)})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.CloseIdle()
	result := sender.Send(t.Context(), webhook.Request{
		Target: sender.Target(receiver.URL, keys), EventType: e.Type, EventID: e.ID, EventTime: event.Timestamp(e.Time).String(),
		DeliveryID: uuid.New(), Attempt: 1, Body: e.Payload,
	})
	if result.Error != "" {
		t.Fatal(result.Error)
	}
	return <-headers
}

// checkSent compares the headers in both directions. Content-Type and
// Content-Length are no parameters.
func checkSent(t *testing.T, op *openapi3.Operation, got http.Header, signed bool) {
	t.Helper()
	names := map[string]bool{"Content-Type": true, "Content-Length": true}
	for _, p := range op.Parameters {
		name := http.CanonicalHeaderKey(p.Value.Name)
		names[name] = true
		if err := fitsText(p.Value.Schema, p.Value.Required || signed, got[name]); err != nil {
			t.Errorf("%s: %v", p.Value.Name, err)
		}
	}
	for name := range got {
		if !names[name] {
			t.Errorf("%s is sent, but not described", name)
		}
	}
}

// nameless is a resolver that knows no name: no test asks the network.
func nameless() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}}
}
