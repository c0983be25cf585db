package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/event"
)

// schemaOf is the schema of an event type as the catalogue has it.
func schemaOf(t *testing.T, eventType string) *openapi3.Schema {
	t.Helper()
	of, known := event.Defined(eventType)
	if !known {
		t.Fatalf("%s is not in the catalogue", eventType)
	}
	encoded, err := json.Marshal(of.Schema())
	if err != nil {
		t.Fatal(err)
	}
	var s openapi3.Schema
	if err := json.Unmarshal(encoded, &s); err != nil {
		t.Fatalf("%v: %s", err, encoded)
	}
	return &s
}

// valid checks a payload against the catalogue and openapi.yaml.
func valid(t *testing.T, eventType, payload string) {
	t.Helper()
	for where, schema := range map[string]*openapi3.Schema{
		"catalogue": schemaOf(t, eventType), "openapi.yaml": payloadOf(t, eventType),
	} {
		if err := fits(schema.NewRef(), payload); err != nil {
			t.Errorf("%s: %s: %v\n%s", where, eventType, err, payload)
		}
	}
}

func payloadOf(t *testing.T, eventType string) *openapi3.Schema {
	t.Helper()
	item := described(t).Webhooks[eventType]
	if item == nil {
		t.Fatalf("openapi.yaml has no webhook %s", eventType)
	}
	return item.Post.RequestBody.Value.Content["application/json"].Schema.Value
}

func TestSamplesFitTheirSchema(t *testing.T) {
	t.Parallel()
	for _, d := range event.Catalogue() {
		sample, err := d.Sample()
		if err != nil {
			t.Fatal(err)
		}
		valid(t, d.Type, string(sample))
	}
}

// What does not fit shows that the schema says something.
func TestSchemasRefuseWhatIsNoPayload(t *testing.T) {
	t.Parallel()
	for _, d := range event.Catalogue() {
		for _, broken := range []string{`{}`, `{"event_type":"` + d.Type + `"}`, `{"event_type":"other","event_id":"x","timestamp":"x","data":{}}`} {
			if fits(schemaOf(t, d.Type).NewRef(), broken) == nil {
				t.Errorf("%s takes %s", d.Type, broken)
			}
		}
	}
}

// shape is what a schema demands, without the words for people.
type shape struct {
	Types, Required, Enum []string
	Const                 any
	Format, Pattern       string
	Closed                bool
	Properties            map[string]shape
	Items, Others         *shape
}

func shapeOf(s *openapi3.Schema) shape {
	found := shape{Required: slices.Sorted(slices.Values(s.Required)), Const: s.Const, Format: s.Format, Pattern: s.Pattern, Closed: forbids(s.AdditionalProperties)}
	if s.Type != nil {
		found.Types = s.Type.Slice()
	}
	for _, value := range s.Enum {
		found.Enum = append(found.Enum, value.(string))
	}
	if s.Items != nil {
		found.Items = new(shapeOf(s.Items.Value))
	}
	if others := s.AdditionalProperties.Schema; others != nil {
		found.Others = new(shapeOf(others.Value))
	}
	for name, property := range s.Properties {
		if found.Properties == nil {
			found.Properties = map[string]shape{}
		}
		found.Properties[name] = shapeOf(property.Value)
	}
	return found
}

func TestDescribedPayloadsAreThoseOfTheCatalogue(t *testing.T) {
	t.Parallel()
	for _, eventType := range event.Types() {
		if diff := cmp.Diff(shapeOf(schemaOf(t, eventType)), shapeOf(payloadOf(t, eventType))); diff != "" {
			t.Errorf("%s (-catalogue +openapi.yaml)\n%s", eventType, diff)
		}
	}
}

// In an operation of openapi.yaml, too, the event's type is the one of its name.
func TestDescribedWebhooksNameTheirType(t *testing.T) {
	t.Parallel()
	for eventType, item := range described(t).Webhooks {
		header := item.Post.Parameters.GetByInAndName("header", "X-Sonicus-Event")
		if header == nil || header.Schema.Value.Const != eventType || !slices.Contains(item.Post.Tags, "webhooks") {
			t.Errorf("%s: %v", eventType, header)
		}
	}
}

func TestEventTypesAreShownWithSchemaAndSample(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	got := a.get(t, eventTypesPath)
	var shown struct {
		Data []struct {
			Name, Description string
			Schema            openapi3.Schema
			Sample            json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(got.body), &shown); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range shown.Data {
		names = append(names, e.Name)
		if err := fits(e.Schema.NewRef(), string(e.Sample)); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		if e.Description == "" || !strings.Contains(got.body, `{"event_type":"`+e.Name+`","event_id":`) {
			t.Errorf("%s: %s", e.Name, got.body)
		}
	}
	if diff := cmp.Diff(event.Types(), names); diff != "" {
		t.Error(diff)
	}
}

// What is really stored for the dispatchers, of every operation that publishes.
func TestPublishedPayloadsFitTheirSchema(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, o := range operations(t) {
		if o.method == http.MethodGet {
			continue
		}
		for _, c := range a.examples(t, o) {
			a.testLimits.recent = nil
			a.do(t, c)
		}
	}
	var published []struct {
		Type    string `db:"event_type"`
		Payload string `db:"payload"`
	}
	if err := a.db.Select(&published, `SELECT event_type, payload FROM sonicus.events`); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range published {
		seen[e.Type] = true
		valid(t, e.Type, e.Payload)
	}
	for _, eventType := range event.Types() {
		if !seen[eventType] && !event.Operational(eventType) { // those are the dispatchers' to publish
			t.Errorf("no operation publishes %s", eventType)
		}
	}
}

func TestEgressIsShownAsItIsSet(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	if got := a.get(t, egressPath); got.body != `{"ip_addresses":["198.51.100.7"],"user_agent":"Sonicus-Webhooks/1.0"}`+"\n" {
		t.Errorf("got %d %s", got.status, got.body)
	}
	a.egress.Addresses = nil
	if got := a.get(t, egressPath); got.json(t, 200)["ip_addresses"] == nil {
		t.Errorf("got %s", got.body)
	}
}
