package dispatch

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// listener registers an endpoint for operational events.
func (b *bench) listener(t *testing.T, url string, maxRetries int) {
	t.Helper()
	b.exec(t, `INSERT INTO sonicus.endpoints (id, url, name, events, max_retries, created_at, updated_at) VALUES ($1, $2, 'ops', '["webhook.*"]', $3, now(), now())`,
		uuid.New(), url, maxRetries)
}

// told is what a receiver of operational events has got.
type told struct {
	EventType string `json:"event_type"`
	Data      struct {
		Delivery map[string]any `json:"delivery"`
		Endpoint map[string]any `json:"endpoint"`
	} `json:"data"`
}

func hearing(t *testing.T) (url string, got chan told) {
	t.Helper()
	got = make(chan told, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var event told
		if err != nil || json.Unmarshal(body, &event) != nil {
			t.Errorf("got %s, %v", body, err)
		}
		got <- event
	}))
	t.Cleanup(receiver.Close)
	return receiver.URL, got
}

// restless answers every other request with 500.
func restless(t *testing.T) (url string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(receiver.Close)
	return receiver.URL, requests
}

func (b *bench) drain(t *testing.T) {
	t.Helper()
	eventually(t, "an empty queue", func() bool { return b.count(t, `sonicus.queue`) == 0 })
}

const operational = `sonicus.events WHERE event_type LIKE 'webhook.%'`

func TestRecoveryIsToldOnce(t *testing.T) {
	t.Parallel()
	url, _ := answering(t, 204)
	ops, got := hearing(t)
	b := newBench(t, url+"/hook?token=hunter2")
	b.listener(t, ops, 0)
	b.exec(t, `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now(), failures = 3, openings = 1, failing_since = '2026-01-02T03:04:05Z' WHERE endpoint_id = $1`, b.endpoint)
	b.publish(t, 5)
	b.run(t)
	e := <-got
	b.drain(t)
	if e.EventType != event.EndpointRecovered || e.Data.Endpoint["id"] != b.endpoint.String() || e.Data.Endpoint["url"] != url+"/hook" ||
		e.Data.Endpoint["failing_since"] != "2026-01-02T03:04:05.000000Z" || e.Data.Endpoint["recovered_at"] == nil {
		t.Errorf("got %+v", e)
	}
	if n := b.count(t, operational); n != 1 || len(got) != 0 {
		t.Errorf("%d events, %d more arrived", n, len(got))
	}
}

func TestDeliveriesThatAreGivenUpAreTold(t *testing.T) {
	t.Parallel()
	const deliveries = 5
	url, _ := answering(t, 503)
	ops, got := hearing(t)
	b := newBench(t, url)
	b.listener(t, ops, 0)
	b.exec(t, `UPDATE sonicus.endpoints SET max_retries = 0`)
	b.publish(t, deliveries)
	b.publishTest(t)
	b.run(t)
	lost := map[any]bool{}
	for range deliveries {
		e := <-got
		d := e.Data.Delivery
		lost[d["id"]] = true
		if e.EventType != event.DeliveryExhausted || e.Data.Endpoint["id"] != b.endpoint.String() || d["failure_reason"] != "exhausted" ||
			d["http_status_code"] != 503.0 || d["attempt_count"] != 1.0 || d["event_type"] != event.OrganizationCreated || d["error_message"] != "receiver answered 503" {
			t.Errorf("got %+v", e)
		}
	}
	b.drain(t)
	if n := b.count(t, operational); n != deliveries || len(lost) != deliveries || len(got) != 0 {
		t.Errorf("%d events of %d deliveries, %d more arrived; a test must not be told of", n, len(lost), len(got))
	}
}

// When the answer to COMMIT is lost, the same group is settled again.
func TestWhatIsSettledTwiceIsToldOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:9/")
	b.listener(t, "http://127.0.0.1:9/", 0)
	b.publish(t, 3)
	var group []finished
	for _, c := range b.claimAll(t) {
		group = append(group, finished{result: outbox.Result{Claimed: c, StartedAt: time.Now(), Reason: "dns", Error: "x", Status: outbox.Failed, FailureReason: reasonBlocked}})
	}
	for range 2 {
		if err := b.settler.settle(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.count(t, operational); n != 3 {
		t.Errorf("%d events of 3 deliveries", n)
	}
}

func TestNothingIsPublishedThatNobodyWants(t *testing.T) {
	t.Parallel()
	url, _ := answering(t, 503)
	b := newBench(t, url) // subscribed to "*"
	b.exec(t, `UPDATE sonicus.endpoints SET max_retries = 0`)
	b.publish(t, 3)
	b.run(t)
	b.drain(t)
	if n := b.count(t, operational); n != 0 {
		t.Errorf("%d events", n)
	}
}

// Two receivers of operational events that do nothing but fail, and hear of each
// other, and of a business receiver that fails as well.
func TestReceiversOfOperationalEventsThatFailForeverFeedNothing(t *testing.T) {
	t.Parallel()
	const deliveries = 4
	url, _ := answering(t, 500)
	b := newBench(t, url)
	b.settler.settings.Breaker = outbox.BreakerPolicy{Failures: 1, FirstOpen: time.Millisecond, MaxOpen: time.Millisecond}
	b.settings.Retry = Schedule{Initial: time.Millisecond, Multiplier: 1, Max: time.Millisecond}
	b.exec(t, `UPDATE sonicus.endpoints SET max_retries = 1`)
	b.listener(t, url, 2)
	b.listener(t, url, 2)
	b.publish(t, deliveries)
	b.run(t)
	b.drain(t)
	if n := b.count(t, operational); n != deliveries {
		t.Errorf("%d operational events of %d deliveries that were given up", n, deliveries)
	}
	if n := b.count(t, `sonicus.deliveries WHERE event_type LIKE 'webhook.%' AND failure_reason = 'exhausted' AND attempt_count = 3`); n != 2*deliveries {
		t.Errorf("%d of %d operational deliveries were given up in their turn", n, 2*deliveries)
	}
}

// Every success after a failure closes a breaker. If that were told, whatever it was
// a delivery of, the two would go on telling each other for ever.
func TestReceiversOfOperationalEventsThatComeAndGoFeedNothing(t *testing.T) {
	t.Parallel()
	const deliveries = 3
	url, requests := restless(t)
	b := newBench(t, url)
	b.settler.settings.Breaker = outbox.BreakerPolicy{Failures: 1, FirstOpen: time.Millisecond, MaxOpen: time.Millisecond}
	b.settings.Retry = Schedule{Initial: time.Millisecond, Multiplier: 1, Max: time.Millisecond}
	for range 2 {
		ops, _ := restless(t)
		b.listener(t, ops, 50)
	}
	b.publish(t, deliveries)
	b.run(t)
	b.drain(t)
	n := b.count(t, operational)
	if n == 0 || n > int(requests.Load()) {
		t.Errorf("%d operational events of %d business requests", n, requests.Load())
	}
	if told := b.count(t, operational+` AND event_type <> 'webhook.endpoint.recovered'`); told != 0 {
		t.Errorf("%d others", told)
	}
}

// An endpoint that is switched off in the very transaction has not recovered.
func TestWhoIsSwitchedOffHasNotRecovered(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:9/")
	b.listener(t, "http://127.0.0.1:9/", 0)
	b.publish(t, 2)
	claimed := b.claimAll(t)
	b.exec(t, `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now(), failures = 1, openings = 1, failing_since = now() WHERE endpoint_id = $1`, b.endpoint)
	group := []finished{
		{result: outbox.Result{Claimed: claimed[0], StartedAt: time.Now(), HTTPStatus: 204, Status: outbox.Sent}},
		{result: outbox.Result{Claimed: claimed[1], StartedAt: time.Now(), HTTPStatus: 410, Reason: "gone", Status: outbox.Failed, FailureReason: reasonGone}, gone: true},
	}
	if err := b.settler.settle(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	var types []string
	if err := postgres.InTx(t.Context(), b.db, func(tx *postgres.Tx, _ time.Time) error {
		return tx.SelectContext(t.Context(), &types, `SELECT event_type FROM `+operational)
	}); err != nil || len(types) != 1 || types[0] != event.EndpointDisabled {
		t.Errorf("got %v, %v", types, err)
	}
}
