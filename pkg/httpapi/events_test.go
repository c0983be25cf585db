package httpapi

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
)

// shownEvents are the types of the events that a list shows.
func (a *api) shownEvents(t *testing.T, query string) string {
	t.Helper()
	var types []string
	for _, e := range a.get(t, eventsPath+query).json(t, 200)["data"].([]any) {
		types = append(types, e.(map[string]any)["event_type"].(string))
	}
	return strings.Join(types, " ")
}

func TestEventsAreFoundByEachFilter(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	of := a.organization(t)
	a.organization(t)
	a.patch(t, of, `{"name":"B"}`, nil).json(t, 200)
	id := strings.TrimPrefix(of, organizationsPath+"/")
	for query, want := range map[string]string{
		"":                                     "organization.updated organization.created organization.created",
		"?limit=1":                             "organization.updated",
		"?event_type=organization.updated":     "organization.updated",
		"?event_type=user.created":             "",
		"?organization_id=" + id:               "organization.updated organization.created",
		"?organization_id=" + uuid.NewString(): "",
		"?since=2100-01-01T00:00:00Z":          "",
		"?until=2000-01-01T00:00:00Z":          "",
		"?since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z&event_type=organization.updated&organization_id=" + id: "organization.updated",
	} {
		if got := a.shownEvents(t, query); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

// A list that is filtered by a misspelt type, and answers with nothing, looks like one
// of which nothing has happened.
func TestNoListIsOfAnEventTypeThatIsNone(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, list := range []string{eventsPath + "?event_type=", deliveriesPath + "?event_type=", endpointsPath + "?event="} {
		for _, eventType := range event.Types() {
			a.get(t, list+eventType).json(t, 200)
		}
		for _, none := range []string{"", "nope", "organization.*", "*", event.WebhookTest, "Organization.Created", "organization.created,user.created"} {
			if d := a.get(t, list+none).problem(t, 422, "invalid_value"); !strings.HasPrefix(d.fieldNames(), "event") {
				t.Errorf("%s%s: %s", list, none, d.fieldNames())
			}
		}
	}
}

func TestEventIsShownAsItIsSentWithItsWay(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	delivery := a.delivery(t)
	a.attempted(t, delivery, "sent")
	of := a.get(t, deliveriesPath+"/"+delivery).json(t, 200)
	id := of["event_id"].(string)
	got := a.get(t, eventsPath+"/"+id)
	shown := got.json(t, 200)
	var payload string
	if err := a.db.GetContext(t.Context(), &payload, `SELECT payload FROM sonicus.events WHERE id = $1`, id); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.body, `"payload":`+payload) {
		t.Errorf("%s is not in %s", payload, got.body)
	}
	ways := shown["deliveries"].([]any)
	if len(ways) != 1 || shown["fanout"] != 1.0 {
		t.Fatalf("got %s", got.body)
	}
	for name, value := range ways[0].(map[string]any) {
		if name == "delivery_id" {
			name = "id"
		}
		if of[name] != value {
			t.Errorf("%s: got %v, but the delivery has %v", name, value, of[name])
		}
	}
}
