package event

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// WebhookTest is the type of what is sent to a URL to try it out. It is no event:
// nobody can subscribe to it, and it is not in the catalogue.
const WebhookTest = "webhook.test"

// TestOrganizationID is the id of the organization that a test tells of; it is no
// UUID, so that no receiver takes it for a real one.
const TestOrganizationID = "test-org-12345"

// NewWebhookTest makes a test. data is a JSON object for the receiver; nil: an empty
// one.
func NewWebhookTest(id uuid.UUID, at time.Time, data json.RawMessage) (Envelope, error) {
	if data == nil {
		data = json.RawMessage("{}")
	}
	return Envelope{ID: id, Type: WebhookTest, Time: at, Test: true}.with(data)
}

// NewSample makes a test of an event type out of its sample in the catalogue.
func NewSample(of Definition, id uuid.UUID, at time.Time) (Envelope, error) {
	return Envelope{ID: id, Type: of.Type, Time: at, Test: true}.with(of.sample)
}

// testOrganization is an organization with the id of none: of two fields with one
// name, the outer one is encoded.
type testOrganization struct {
	ID string `json:"id"`
	Organization
}

// NewOrganizationTest makes a test that looks as if an organization had been created.
func NewOrganizationTest(id uuid.UUID, at time.Time) (Envelope, error) {
	made := sampleOrganization
	made.Name, made.DisplayName, made.CreatedAt = "Test Organization", "Test Organization", Timestamp(at)
	return Envelope{ID: id, Type: OrganizationCreated, Time: at, Test: true}.with(struct {
		Organization testOrganization `json:"organization"`
	}{testOrganization{TestOrganizationID, made}})
}
