package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// delivery makes an endpoint and an organization, whose event goes to it, and
// returns the id of the delivery.
func (a *api) delivery(t *testing.T) string {
	t.Helper()
	made := a.post(t, endpointsPath, `{"name":"n","url":"`+hook+`","events":["organization.*"],"headers":{"X-Tenant":"tenant-secret"},"generate_secret":true}`).json(t, 201)
	a.post(t, organizationsPath, fmt.Sprintf(`{"name":"A & <B>","domain":"n%s.example.com","primary_contact_email":"a@example.com"}`, uuid.NewString()[:8])).json(t, 201)
	rows := a.get(t, deliveriesPath+"?limit=1&endpoint_id="+made["id"].(string)).json(t, 200)["data"].([]any)
	return rows[0].(map[string]any)["id"].(string)
}

// attempted writes an attempt of a delivery, as settling does.
func (a *api) attempted(t *testing.T, id, outcome string) {
	t.Helper()
	failed := outcome != "sent"
	a.change(t, fmt.Sprintf(`
		WITH a AS (
			INSERT INTO sonicus.attempts (delivery_id, number, lease_token, started_at, duration_ms, http_status_code, reason, error_message, response_headers, response_body, dispatcher)
			SELECT id, attempt_count + 1, 1, now(), 1.5, %d, %s, %s, '{"Content-Type":"text/plain"}', 'busy', 'test' FROM sonicus.deliveries WHERE id = '%s' RETURNING *
		), q AS (
			UPDATE sonicus.queue SET due_at = now() + interval '10 seconds', retry = true WHERE delivery_id = '%[4]s' AND '%[5]s' = 'retrying'
		), gone AS (
			DELETE FROM sonicus.queue WHERE delivery_id = '%[4]s' AND '%[5]s' <> 'retrying'
		)
		UPDATE sonicus.deliveries d SET attempt_count = a.number, status = '%[5]s', http_status_code = a.http_status_code, error_message = a.error_message,
			last_attempt_at = a.started_at, delivered_at = CASE WHEN '%[5]s' = 'sent' THEN now() END, failure_reason = CASE WHEN '%[5]s' = 'failed' THEN 'exhausted' END,
			max_attempts = CASE WHEN '%[5]s' = 'failed' THEN a.number ELSE max_attempts END
		FROM a WHERE d.id = a.delivery_id`,
		map[bool]int{false: 204, true: 503}[failed], map[bool]string{false: "NULL", true: "'unexpected_status'"}[failed],
		map[bool]string{false: "NULL", true: "'receiver answered 503'"}[failed], id, outcome))
}

func TestDeliveryShowsExactlyWhatIsSent(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.delivery(t)
	var stored string
	if err := a.db.GetContext(t.Context(), &stored, `SELECT payload FROM sonicus.webhook_deliveries WHERE id = $1`, id); err != nil {
		t.Fatal(err)
	}
	got := a.get(t, deliveriesPath+"/"+id)
	if !strings.Contains(got.body, `"payload":`+stored+`,`) {
		t.Errorf("want the payload %s in %s", stored, got.body)
	}
}

func TestDeliveryShowsItsAttemptsWithoutSecrets(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.delivery(t)
	a.attempted(t, id, "retrying")
	a.attempted(t, id, "sent")
	got := a.get(t, deliveriesPath+"/"+id)
	shown := got.json(t, 200)
	if shown["status"] != "sent" || shown["next_attempt"] != nil || shown["next_attempt_at"] != nil || shown["response_body"] != "busy" || shown["delivered_at"] == nil {
		t.Errorf("got %s", got.body)
	}
	list := a.get(t, deliveriesPath+"/"+id+"/attempts").json(t, 200)["data"].([]any)
	if diff := cmp.Diff(shown["attempts"], any(list)); diff != "" {
		t.Errorf("(-delivery +attempts)\n%s", diff)
	}
	if len(list) != 2 || list[0].(map[string]any)["reason"] != "unexpected_status" || list[1].(map[string]any)["reason"] != nil {
		t.Fatalf("got %v", list)
	}
	headers := list[1].(map[string]any)["request_headers"].(map[string]any)
	for name, want := range map[string]string{
		"X-Sonicus-Delivery-ID": id, "X-Sonicus-Attempt": "2", "X-Tenant": "********", "X-Sonicus-Signature": "sha256=********", "webhook-signature": "v1,********",
		"X-Sonicus-Event-ID": shown["event_id"].(string), "webhook-id": shown["event_id"].(string), "X-Sonicus-Timestamp": shown["created_at"].(string),
	} {
		if headers[name] != want {
			t.Errorf("%s: %v, want %s", name, headers[name], want)
		}
	}
	if strings.Contains(got.body, "tenant-secret") {
		t.Error("a secret is shown")
	}
}

func TestDeliveriesAreFoundByEveryFilter(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	sent, failed, pending := a.delivery(t), a.delivery(t), a.delivery(t)
	a.attempted(t, sent, "sent")
	a.attempted(t, failed, "failed")
	own := a.get(t, deliveriesPath+"/"+failed).json(t, 200)
	text := func(name string) string { return own[name].(string) }
	created, err := time.Parse(time.RFC3339Nano, text("created_at"))
	if err != nil {
		t.Fatal(err)
	}
	after := created.Add(time.Hour).Format(time.RFC3339)
	one := "&endpoint_id=" + text("endpoint_id")
	last := a.get(t, deliveriesPath+"/"+pending).json(t, 200)
	for query, want := range map[string][]string{
		"status=pending,retrying&endpoint_id=" + last["endpoint_id"].(string): {pending},
		"event_id=" + text("event_id") + one:                                  {failed},
		"organization_id=" + text("organization_id") + one:                    {failed},
		"status=failed": {failed},
		"status=sent,failed&event_id=" + text("event_id") + one: {failed},
		"status=sent&http_status_code=204":                      {sent},
		"failure_reason=exhausted":                              {failed},
		"failure_reason=gone":                                   {},
		"http_status_code=503":                                  {failed},
		"status=retrying":                                       {},
		"event_type=organization.created" + one + "&event_id=" + text("event_id"): {failed},
		"event_type=organization.deleted":                                         {},
		"since=" + after:                                                          {},
		"status=failed&until=" + after:                                            {failed},
		"until=2020-01-01T00:00:00Z":                                              {},
		"since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z&status=failed":     {failed},
		"endpoint_id=" + uuid.NewString():                                         {},
		"event_id=" + uuid.Max.String():                                           {},
		"event_id=" + uuid.Nil.String():                                           {},
	} {
		ids := []string{}
		for _, row := range a.get(t, deliveriesPath+"?"+query).json(t, 200)["data"].([]any) {
			ids = append(ids, row.(map[string]any)["id"].(string))
		}
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", query, diff)
		}
	}
	// The last event went to all three endpoints.
	if rows := a.get(t, deliveriesPath+"?status=pending&event_id="+last["event_id"].(string)).json(t, 200)["data"].([]any); len(rows) != 3 {
		t.Errorf("%d deliveries that wait, want 3", len(rows))
	}
	for query, code := range map[string]string{
		"status=": "invalid_value", "status=sent,": "invalid_value", "status=lost": "invalid_value", "http_status_code=99": "out_of_range",
		"http_status_code=x": "out_of_range", "event_id=1": "invalid_uuid", "since=yesterday": "invalid_timestamp", "failure_reason=": "invalid_value",
	} {
		a.get(t, deliveriesPath+"?"+query).problem(t, 422, code)
	}
}

func TestDeliveriesArePagedWhileRowsComeIn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for range 3 {
		a.delivery(t)
	}
	shown := a.pages(t, deliveriesPath, func() {})
	checkNewestFirst(t, shown)
	seen := map[any]int{}
	for _, row := range shown {
		seen[row["id"]]++
	}
	if len(seen) != len(shown) || len(shown) != 6 { // 1 + 2 + 3: each organization's event goes to all endpoints that there are
		b, _ := json.Marshal(shown)
		t.Errorf("got %s", b)
	}
}
