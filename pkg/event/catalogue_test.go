package event_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/event"
)

func TestEveryTypeIsDefinedOnceAndDescribed(t *testing.T) {
	t.Parallel()
	types := event.Types()
	if !slices.IsSorted(types) || len(slices.Compact(slices.Clone(types))) != len(types) {
		t.Errorf("got %v", types)
	}
	for _, eventType := range types {
		d, known := event.Defined(eventType)
		if !known || d.Type != eventType || !strings.HasSuffix(d.Description, ".") {
			t.Errorf("%s: %+v", eventType, d)
		}
	}
	if _, known := event.Defined(event.WebhookTest); known || event.Known(event.WebhookTest) {
		t.Error("a test is an event type")
	}
}

func TestSchemasAreMadeFromTheStructs(t *testing.T) {
	t.Parallel()
	d, _ := event.Defined(event.EndpointDisabled)
	got, err := json.MarshalIndent(d.Schema(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"$schema": "https://json-schema.org/draft/2020-12/schema"`, `"title": "webhook.endpoint.disabled"`, `"const": "webhook.endpoint.disabled"`,
		`"required": [
  "event_type",
  "event_id",
  "timestamp",
  "data"
 ]`,
		`"organization_id": {
       "description": "null: the endpoint gets the events of all organizations.",
       "type": [
        "string",
        "null"
       ],
       "format": "uuid"
      }`,
		`"enum": [
        "gone",
        "failing"
       ]`,
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}

func TestSamplesHaveTheOrderOfThePayload(t *testing.T) {
	t.Parallel()
	d, _ := event.Defined(event.OrganizationCreated)
	sample, err := d.Sample()
	if err != nil {
		t.Fatal(err)
	}
	made, err := event.NewOrganizationCreated(eventID, at, documented(), &event.User{ID: orgID, Email: "ada@example.com", FullName: "Ada Lovelace"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys(t, made.Payload), keys(t, sample)); diff != "" {
		t.Error(diff)
	}
}

// keys lists the names of all members in their order.
func keys(t *testing.T, document []byte) (all []string) {
	t.Helper()
	for part := range strings.SplitSeq(string(document), `":`) {
		all = append(all, part[strings.LastIndexByte(part, '"')+1:])
	}
	return all
}

func TestTestsSayThatNothingHasHappened(t *testing.T) {
	t.Parallel()
	created, _ := event.Defined(event.OrganizationCreated)
	url, err := event.NewWebhookTest(eventID, at, json.RawMessage(`{ "a": "R&D" }`))
	if err != nil {
		t.Fatal(err)
	}
	sample, err := event.NewSample(created, eventID, at)
	if err != nil {
		t.Fatal(err)
	}
	organization, err := event.NewOrganizationTest(eventID, at)
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]event.Envelope{"URL": url, "sample": sample, "organization": organization} {
		if !e.Test || e.OrganizationID != nil || !bytes.HasSuffix(e.Payload, []byte(`,"test":true}`)) {
			t.Errorf("%s: %+v %s", name, e, e.Payload)
		}
	}
	const want = `{"event_type":"webhook.test","event_id":"550e8400-e29b-41d4-a716-446655440000","timestamp":"2025-08-07T16:20:52.123456Z","data":{"a":"R&D"},"test":true}`
	if string(url.Payload) != want {
		t.Errorf("got %s", url.Payload)
	}
	if !bytes.Contains(organization.Payload, []byte(`{"organization":{"id":"test-org-12345","name":"Test Organization","display_name":"Test Organization","domain":"example.com","primary_contact_email":`)) {
		t.Errorf("got %s", organization.Payload)
	}
}
