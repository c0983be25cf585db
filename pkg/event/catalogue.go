package event

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Definition is what people and programs can know of an event type.
type Definition struct {
	Type        string
	Description string
	sample      any // data of a payload with every field; its Go type is the schema
}

// catalogue is the one list of event types: a type exists because it is here.
var catalogue = []Definition{
	{OrganizationCreated, "An organization has been created.", organizationCreated{sampleOrganization, &sampleUser}},
	{OrganizationUpdated, "Values of an organization have changed, but for its subscription.", organizationUpdated{sampleOrganization, formerOrganization}},
	{OrganizationDeleted, "An organization has been deleted, with its users. Nothing is told of it afterwards.", organizationDeleted{sampleOrganization}},
	{UserCreated, "A user has been added to an organization. The first one of an onboarding is told by its organization.created.", userCreated{sampleOrganization, sampleMember}},
	{UserUpdated, "Values of a user have changed.", userUpdated{sampleOrganization, sampleMember, formerMember}},
	{UserDeleted, "A user has been deleted. Those who go with their organization are told by its organization.deleted.", userDeleted{sampleOrganization, sampleMember}},
	{SubscriptionChanged, "The subscription of an organization has changed.", subscriptionChanged{sampleOrganization, sampleSubscription, formerSubscription}},
	{EndpointDisabled, "The service has switched an endpoint off, because its receiver answered 410 or did nothing but fail for days.", endpointDisabled{sampleDisabled}},
	{EndpointRecovered, "An endpoint whose circuit breaker was open has answered 2xx to an event that is not about the service itself.", endpointRecovered{sampleRecovered}},
	{DeliveryExhausted, "A delivery was given up, because its attempts are used up. Deliveries of events about the service itself, and of tests, are not told of.", deliveryExhausted{sampleDelivery, sampleEndpoint}},
}

// Catalogue lists the event types that exist, in alphabetical order.
func Catalogue() []Definition {
	return slices.SortedFunc(slices.Values(catalogue), func(a, b Definition) int { return strings.Compare(a.Type, b.Type) })
}

// Types lists the names of the event types that exist, in alphabetical order.
func Types() []string {
	var all []string
	for _, d := range Catalogue() {
		all = append(all, d.Type)
	}
	return all
}

// Defined finds an event type by its name.
func Defined(eventType string) (Definition, bool) {
	i := slices.IndexFunc(catalogue, func(d Definition) bool { return d.Type == eventType })
	if i < 0 {
		return Definition{}, false
	}
	return catalogue[i], true
}

// Sample is a payload of the type, with every field that there can be.
func (d Definition) Sample() (json.RawMessage, error) {
	e, err := seal(d.Type, sampleEventID, nil, time.Time(sampleTime), d.sample)
	return e.Payload, err
}

// What the samples are about.
var (
	sampleEventID = uuid.MustParse("550e8400-e29b-41d4-a716-446655440000")
	sampleTime    = Timestamp(time.Date(2025, 8, 7, 16, 20, 52, 123456000, time.UTC))

	sampleOrganization = Organization{
		ID: uuid.MustParse("123e4567-e89b-12d3-a456-426614174000"), Name: "Example Corporation", DisplayName: "Example Corporation Inc.",
		Domain: "example.com", PrimaryContactEmail: "admin@example.com", SubscriptionTier: "premium", SubscriptionStatus: "active",
		MaxUsers: 250, Industry: new("Technology"), CompanySize: new("50-100"), CreatedAt: sampleTime,
	}
	sampleUser   = User{ID: uuid.MustParse("123e4567-e89b-12d3-a456-426614174001"), Email: "ada@example.com", FullName: "Ada Lovelace"}
	sampleMember = Member{
		ID: uuid.MustParse("123e4567-e89b-12d3-a456-426614174001"), OrganizationID: sampleOrganization.ID, Email: "ada@example.com",
		FullName: "Ada Lovelace", Role: "admin", CreatedAt: sampleTime,
	}
	sampleSubscription = Subscription{SubscriptionTier: "premium", SubscriptionStatus: "active", MaxUsers: 250}
	sampleEndpoint     = Endpoint{
		ID: uuid.MustParse("123e4567-e89b-12d3-a456-426614174002"), Name: "Primary CRM Integration", URL: "https://your-webhook-endpoint.com/webhook",
	}
	sampleFailing   = Timestamp(time.Time(sampleTime).AddDate(0, 0, -5))
	sampleDisabled  = DisabledEndpoint{sampleEndpoint, DisabledFailing, sampleTime, &sampleFailing}
	sampleRecovered = RecoveredEndpoint{sampleEndpoint, &sampleFailing, sampleTime}
	sampleDelivery  = Delivery{
		ID: uuid.MustParse("019890a1-1d2b-7c55-9a3e-5d7f2b9c1e04"), EventID: uuid.MustParse("550e8400-e29b-41d4-a716-446655440001"), EventType: OrganizationCreated,
		CreatedAt: sampleFailing, AttemptCount: 10, FailureReason: Exhausted, HTTPStatusCode: new(503), ErrorMessage: new("receiver answered 503"),
	}

	formerOrganization = FormerOrganization{
		Name: new("Example"), DisplayName: new("Example"), Domain: new("example.org"), PrimaryContactEmail: new("info@example.org"),
		Industry: new((*string)(nil)), CompanySize: new(new("10-50")),
	}
	formerMember       = FormerMember{Email: new("ada@example.org"), FullName: new("Ada Byron"), Role: new("member")}
	formerSubscription = FormerSubscription{
		SubscriptionTier: new("starter"), SubscriptionStatus: new("trial"), MaxUsers: new(10), TrialEndDate: new(&sampleTime),
	}
)
