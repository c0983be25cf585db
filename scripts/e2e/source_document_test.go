package e2e_test

import (
	"fmt"
	"testing"
)

// promises are the rows of the document that this service was made from, each with
// what shows that it holds. Where that document contradicts itself, a row says in
// brackets what holds instead.
var promises = []struct {
	number int
	says   string
	shown  func(*testing.T, *document)
}{
	// Overview
	{1, "an HTTP notification is triggered automatically whenever an organization is created", everyRouteNotifies},
	{2, "endpoints are stored in the database and managed through an API", storedAndManaged},
	{3, "deliveries are tracked and tried again", triedAgain},
	{4, "webhook signatures", signatureVerifies},
	{5, "two persistent models: endpoint configuration and delivery tracking", relations("webhook_endpoints", "webhook_deliveries")},
	{6, "the modules webhook_service, organization_management, super_admin, organization_crud, webhook_management [are Go packages]", packagesExist},
	{7, "the management API covers registration, management, testing, validation", managementIsWhole},
	{8, "the management API requires super-admin authentication", managementIsGuarded},
	// Database setup
	{9, "schema sonicus", schemaExists},
	{10, "table webhook_endpoints", relations("webhook_endpoints")},
	{11, "table webhook_deliveries", relations("webhook_deliveries")},
	{12, "the tables come into being automatically on the first start", tablesAppeared},
	// Registration
	{13, "the API is at http://127.0.0.1:18100", defaultAddress},
	{14, "POST /api/v1/webhooks/endpoints", registers},
	{15, "Authorization: Bearer <token> with a super-admin token", bearerIsNeeded},
	{16, "request field url", takenAs("url")},
	{17, "request field events, an array of strings", takenAs("events")},
	{18, "request field name", takenAs("name")},
	{19, "request field description", takenAs("description")},
	{20, "request field timeout_seconds, such as 10", takenAs("timeout_seconds")},
	{21, "request field max_retries, such as 3", takenAs("max_retries")},
	{22, "request field organization_id, which may be null", organizationMayBeNull},
	{23, "request field secret_key, optional", secretIsOptional},
	// Payload
	{24, "delivered by HTTP POST with a JSON body", postedAsJSON},
	{25, "top level event_type, event_id (UUID), timestamp (UTC, microseconds, Z), data", envelopeIsDocumented},
	{26, "data.organization is an object", organizationIsDocumented},
	{27, "data.organization.id (UUID)", carries("id")},
	{28, "data.organization.name", carries("name")},
	{29, "data.organization.display_name", carries("display_name")},
	{30, "data.organization.domain", carries("domain")},
	{31, "data.organization.primary_contact_email", carries("primary_contact_email")},
	{32, "data.organization.subscription_tier, such as premium", carries("subscription_tier")},
	{33, "data.organization.subscription_status, such as active", carries("subscription_status")},
	{34, "data.organization.max_users, an integer such as 250", carries("max_users")},
	{35, "data.organization.industry", carries("industry")},
	{36, "data.organization.company_size, such as 50-100", carries("company_size")},
	{37, "data.organization.created_at, written as timestamp is", carries("created_at")},
	{38, "data.organization.trial_end_date, which may be null", carries("trial_end_date")},
	// Headers
	{39, "Content-Type: application/json", hasHeader("Content-Type", "application/json")},
	{40, "User-Agent: Sonicus-Webhooks/1.0", hasHeader("User-Agent", "Sonicus-Webhooks/1.0")},
	{41, "X-Sonicus-Event: <event type>", hasHeader("X-Sonicus-Event", "organization.created")},
	{42, "X-Sonicus-Event-ID: <event uuid>", headerRepeats("X-Sonicus-Event-ID", "event_id")},
	{43, "X-Sonicus-Timestamp: <ISO 8601 with microseconds>", headerRepeats("X-Sonicus-Timestamp", "timestamp")},
	{44, "X-Sonicus-Signature: sha256=… only when the endpoint has a secret", signedOnlyWithSecret},
	// Management
	{45, "everything lives under /api/v1/webhooks/", managementIsBelowItsPath},
	{46, `the answer has id, url and message = "Webhook endpoint created successfully"`, registrationIsAnswered},
	{47, "POST /api/v1/webhooks/test with url and free test_data", testIsSent},
	{48, "its answer: success, status_code, response_time_ms (float), error_message (nullable)", testIsAnswered},
	{49, "POST /api/v1/webhooks/trigger-test, without a body", triggersTest},
	{50, "it sends a test organization.created to all registered endpoints [that are active and subscribed to it]", triggeredTestArrives},
	{51, `its answer: message = "Test webhook triggered successfully", test_organization_id such as test-org-12345`, triggeredTestIsAnswered},
	// Creation
	{52, "POST /api/v1/organizations/ (admin)", createsAs("/api/v1/organizations/", "viewer")},
	{53, "POST /api/v1/super-admin/organizations/ (super admin)", createsAs("/api/v1/super-admin/organizations/", "admin")},
	{54, "POST /api/v1/organization-crud/organizations/ (full onboarding, comprehensive data)", createsAs("/api/v1/organization-crud/organizations/", "viewer")},
	{55, "all three trigger the event", everyRouteNotifies},
	{56, "it is triggered with the creation and does not delay the caller", callerDoesNotWait},
	// Errors
	{57, "a webhook that fails never prevents creating an organization", failureHindersNobody},
	{58, "several webhooks are sent at once", sentAtOnce},
	{59, "30 second timeout per request [timeout_seconds, 1 to 30, 10 without it]", timeoutIsBounded},
	{60, "every failure is logged at error level, with the URL and the message", failuresAreLogged},
	{61, "no automatic retries at present [there are]", triedAgain},
	{62, "exponential backoff", waitsGrow},
	{63, "dead letter queue", deadLettersAreKept},
	{64, "delivery status tracking", everyStatusIsSeen},
	// Testing
	{65, "Swagger UI at /docs on the port of the API", docsAreServed},
	{66, "a section called webhooks", sectionExists},
	{67, "the test routes can be used from there", testRoutesAreDescribed},
	{68, "works with request-bin services and tunnels", longURLIsKept},
	{69, "env WEBHOOK_URL [is read by make up alone, which registers it through the API]", noEnvironmentEndpoint},
	{70, "example receiver on port 3001", examplePort},
	// Production
	{71, "HTTPS only for webhook URLs in production", httpsInProduction},
	{72, "secret keys verify authenticity", forgeryIsFound},
	{73, "super-admin authentication on management", managementIsGuarded},
	{74, "receivers may restrict by our addresses", addressesAreTold},
	{75, "every attempt is logged in the database", attemptsAreStored},
	{76, "retention of old delivery rows is to be considered", oldDaysCanGo},
	{77, "monitor webhook_deliveries for failures", failuresCanBeMonitored},
	{78, "indexes exist for good performance", indexesExist},
	{79, "asynchronous sending", callerDoesNotWait},
	{80, "parallel delivery", sentAtOnce},
	{81, "built-in retries with configurable attempts", attemptsAreConfigured},
	{82, "circuit breaker for consistently failing endpoints", breakerOpens},
	// Receiver and environment
	{83, "sample receiver that answers with a status [in Go, in the README]", sampleReceives},
	{84, "the sample receiver answers unknown event types like a success", sampleTakesUnknownTypes},
	{85, "no environment variables are needed for endpoints", noEnvironmentEndpoint},
	// Table webhook_endpoints
	{86, "webhook_endpoints.id uuid", column("webhook_endpoints", "id", "uuid")},
	{87, "webhook_endpoints.url", column("webhook_endpoints", "url", "text")},
	{88, "webhook_endpoints.secret_key, optional [masked]", secretColumnIsMasked},
	{89, "webhook_endpoints.events, a JSON array", column("webhook_endpoints", "events", "jsonb")},
	{90, "webhook_endpoints.is_active", column("webhook_endpoints", "is_active", "boolean")},
	{91, "webhook_endpoints.organization_id (NULL: global)", column("webhook_endpoints", "organization_id", "uuid")},
	{92, "webhook_endpoints.timeout_seconds", column("webhook_endpoints", "timeout_seconds", "integer")},
	{93, "webhook_endpoints.max_retries", column("webhook_endpoints", "max_retries", "integer")},
	{94, "webhook_endpoints.name", column("webhook_endpoints", "name", "text")},
	{95, "webhook_endpoints.description", column("webhook_endpoints", "description", "text")},
	{96, "webhook_endpoints.created_at, updated_at", times("webhook_endpoints", "created_at", "updated_at")},
	{97, "webhook_endpoints.last_success_at, last_failure_at", lastResultsAreShown},
	// Table webhook_deliveries
	{98, "webhook_deliveries.id uuid", column("webhook_deliveries", "id", "uuid")},
	{99, "webhook_deliveries.endpoint_id -> webhook_endpoints", deliveriesNameTheirEndpoint},
	{100, "webhook_deliveries.event_type", column("webhook_deliveries", "event_type", "text")},
	{101, "webhook_deliveries.event_id", column("webhook_deliveries", "event_id", "uuid")},
	{102, "webhook_deliveries.payload, JSON", payloadIsStored},
	{103, "webhook_deliveries.status in pending, sent, failed, retrying", everyStatusIsSeen},
	{104, "webhook_deliveries.http_status_code", column("webhook_deliveries", "http_status_code", "integer")},
	{105, "webhook_deliveries.response_body, response_headers", answersAreStored},
	{106, "webhook_deliveries.error_message", errorIsStored},
	{107, "webhook_deliveries.attempt_count, max_attempts [1 + max_retries]", attemptsAreConfigured},
	{108, "webhook_deliveries.created_at, last_attempt_at, delivered_at", times("webhook_deliveries", "created_at", "last_attempt_at", "delivered_at")},
	// Troubleshooting
	{109, "docs cover not firing, timeouts, invalid payload", troubleshootingIsWritten},
	{110, "debug logging can be switched on", debugIsLogged},
	{111, "connectivity of a URL can be tested by hand", testIsSent},
	{112, "logs under /logs/ [JSON to stderr, SONICUS_LOG_FILE as well]", logFileIsWritten},
	// Changelog and future list
	{113, "organization-specific filtering", organizationsAreFiltered},
	{114, "organization.updated, organization.deleted", organizationEventsArrive},
	{115, "user creation and modification events", userEventsArrive},
	{116, "subscription change events", subscriptionEventsArrive},
	{117, "custom event filtering per webhook URL", eventsAreFiltered},
	{118, "retries with exponential backoff, delivery status tracking, signature verification", everythingAtOnce},
}

func TestEveryRowOfTheSourceDocumentHolds(t *testing.T) {
	t.Parallel()
	d := readDocument(t)
	if len(promises) != 118 {
		t.Errorf("%d rows, want 118", len(promises))
	}
	for i, p := range promises {
		if p.number != i+1 || p.shown == nil {
			t.Errorf("row %d is number %d, or nothing shows it", i+1, p.number)
			continue
		}
		t.Run(fmt.Sprintf("S%d %s", p.number, p.says), func(t *testing.T) { p.shown(t, d) })
	}
}
