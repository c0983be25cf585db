package dispatch

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// bench is a dispatcher on a database with one endpoint.
type bench struct {
	*Dispatcher
	db       *postgres.DB
	endpoint uuid.UUID
}

func newBench(t *testing.T, url string) *bench { t.Helper(); return newBenchFor(t, url, 4, 4) }

func newBenchFor(t *testing.T, url string, concurrency, perEndpoint int) *bench {
	t.Helper()
	db := pgtest.New(t)
	sender, err := webhook.NewSender(webhook.Options{Guard: webhook.NewGuard(webhook.Policy{
		AllowHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})})
	if err != nil {
		t.Fatal(err)
	}
	box, err := secret.NewBox([]secret.Key{{ID: "k1", Bytes: make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{db: db, endpoint: uuid.New(), Dispatcher: New(db, sender, box, Settings{
		Name: "test", Concurrency: concurrency, PerEndpoint: perEndpoint, PollInterval: 20 * time.Millisecond, Grace: time.Minute,
		Retry: Schedule{Initial: time.Hour, Multiplier: 1, Max: time.Hour},
	}, slog.New(slog.DiscardHandler))}
	b.exec(t, `INSERT INTO sonicus.endpoints (id, url, name, events, created_at, updated_at) VALUES ($1, $2, 'test', '["*"]', now(), now())`, b.endpoint, url)
	return b
}

func (b *bench) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := b.db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) count(t *testing.T, from string) (n int) {
	t.Helper()
	if err := b.db.GetContext(t.Context(), &n, `SELECT count(*) FROM `+from); err != nil {
		t.Fatal(err)
	}
	return n
}

func (b *bench) publish(t *testing.T, n int) {
	t.Helper()
	err := postgres.InTx(t.Context(), b.db, func(tx *postgres.Tx, now time.Time) error {
		for range n {
			ev, err := event.NewOrganizationCreated(postgres.NewID(now), now, event.Organization{ID: uuid.New()}, nil)
			if err != nil {
				return err
			}
			if _, err := outbox.Publish(t.Context(), tx, ev); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) claimAll(t *testing.T) []outbox.Claimed {
	t.Helper()
	claimed, _, err := outbox.Claim(t.Context(), b.db, []outbox.Ask{{Lane: outbox.Lane{EndpointID: b.endpoint}, Most: 100}})
	if err != nil {
		t.Fatal(err)
	}
	return claimed
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A result that Postgres refuses must cost neither its neighbours nor itself.
func TestUnstorableResponseDoesNotPoisonItsGroup(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:9/")
	b.publish(t, 7)
	var group []finished
	for i, c := range b.claimAll(t) {
		r := outbox.Result{Claimed: c, StartedAt: time.Now(), HTTPStatus: 200, Status: outbox.Sent, ResponseBody: "fine"}
		if i == 3 {
			r.ResponseBody = "a NUL \x00 that text cannot hold"
		}
		group = append(group, finished{result: r})
	}
	if !b.settler.settleAll(t.Context(), group) {
		t.Fatal("the group was not settled")
	}
	if n := b.count(t, `sonicus.attempts WHERE response_body = 'fine'`); n != 6 {
		t.Errorf("%d of 6 neighbours settled", n)
	}
	if n := b.count(t, `sonicus.webhook_deliveries WHERE status = 'sent' AND response_body IS NULL AND error_message = 'the response could not be stored'`); n != 1 {
		t.Error("the culprit is not settled without its response")
	}
	if n := b.count(t, `sonicus.queue`); n != 0 {
		t.Errorf("%d left in the queue", n)
	}
}

func TestUnreadableSecretPostponesWithoutSpendingAnAttempt(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(receiver.Close)
	b := newBench(t, receiver.URL)
	b.exec(t, `UPDATE sonicus.endpoints SET secret = 'v1.lost.AAAA.AAAA', secret_last4 = 'xxxx'`)
	b.publish(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, context.Background()) }()
	eventually(t, "the delivery to be postponed", func() bool {
		return b.count(t, `sonicus.queue WHERE lease_token IS NULL AND due_at > now() + interval '30 seconds'`) == 1
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests were made unsigned", n)
	}
	if n := b.count(t, `sonicus.deliveries WHERE status = 'pending' AND attempt_count = 0`); n != 1 {
		t.Error("an attempt was spent")
	}
}

func TestStoppingWithoutADatabaseSaysWhatIsNotRecorded(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	b := newBench(t, "http://127.0.0.1:9/")
	b.publish(t, 2)
	claimed := b.claimAll(t)
	away, err := postgres.Connect(t.Context(), server.URL("postgres"), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = away.Close() })
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newSettler(away, Settings{Name: "test"}, slog.New(slog.DiscardHandler), newLanes(4, 4, make(chan struct{}, 1)), newStatistics(away, slog.New(slog.DiscardHandler)), &Counters{}, func(int) {}, func(uuid.UUID) {})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	for _, c := range claimed {
		s.add(finished{result: outbox.Result{Claimed: c, StartedAt: time.Now(), HTTPStatus: 200, Status: outbox.Sent}})
	}
	eventually(t, "the settler to be behind", s.behind)
	s.close()
	cancel()
	if err := <-ended; err == nil || err.Error() != "stopped with results that are not recorded: 2 deliveries may be sent again" {
		t.Errorf("ended with %v", err)
	}
}

func TestForgottenReceiverKeepsItsLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:1/")
	b.exec(t, `UPDATE sonicus.endpoints SET max_concurrency = 1`)
	b.publish(t, 1)
	claimed, _, err := outbox.Claim(t.Context(), b.db, []outbox.Ask{{Lane: outbox.Lane{EndpointID: b.endpoint}, Most: 1}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.endpoints.refresh(t.Context(), claimed); err != nil {
			t.Fatal(err)
		}
		if got := b.lanes.receiverOf(b.endpoint).window; got != 1 {
			t.Errorf("%d requests at once, want 1", got)
		}
		b.lanes.stale(time.Now().Add(time.Hour), time.Minute)
	}
}

// Of a queue's row without its delivery nothing can be sent; the others of the same
// claim are.
func TestQueueRowWithoutDeliveryHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	b := newBench(t, receiver.URL)
	b.publish(t, 3)
	b.exec(t, `DELETE FROM sonicus.deliveries WHERE id = (SELECT delivery_id FROM sonicus.queue ORDER BY due_at LIMIT 1)`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, context.Background()) }()
	eventually(t, "the others to be sent, and the row to be put off", func() bool {
		return b.count(t, `sonicus.deliveries WHERE status = 'sent'`) == 2 && b.count(t, `sonicus.queue WHERE due_at > now() + interval '23 hours'`) == 1
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A process that was frozen inside a transaction must not stop everyone else.
func TestFrozenPeerReleasesItsLocks(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	b := newBench(t, receiver.URL)
	b.publish(t, 3)
	frozen, thawed := make(chan struct{}), make(chan struct{})
	peer := make(chan error, 1)
	go func() {
		peer <- postgres.InTx(t.Context(), b.db, func(tx *postgres.Tx, _ time.Time) error {
			_, err := tx.ExecContext(t.Context(), `SELECT FROM sonicus.lanes FOR NO KEY UPDATE`)
			close(frozen)
			<-thawed
			return err
		})
	}()
	<-frozen
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, context.Background()) }()
	eventually(t, "all to be recorded", func() bool { return b.count(t, `sonicus.queue`) == 0 })
	cancel()
	close(thawed)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-peer; !postgres.Unavailable(err) {
		t.Errorf("the frozen peer's transaction ended with %v, want that the server is not available", err)
	}
}

// What a receiver that stalled has missed of its rate is not made up for in a burst.
func TestRateHoldsAfterTheReceiverHasStalled(t *testing.T) {
	t.Parallel()
	const rate, atOnce, events = 100, 8, 300
	var mu sync.Mutex
	var begun []time.Time
	stall := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		begun = append(begun, time.Now())
		n := len(begun)
		mu.Unlock()
		if n > 60 && n <= 60+atOnce {
			<-stall
		}
	}))
	t.Cleanup(receiver.Close)
	b := newBenchFor(t, receiver.URL, 64, atOnce)
	b.exec(t, `UPDATE sonicus.endpoints SET rate_limit = $1`, rate)
	b.publish(t, events)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, context.Background()) }()
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(begun) }
	eventually(t, "the receiver to hold all that it gets", func() bool { return count() == 60+atOnce })
	<-time.After(900 * time.Millisecond) // a stall of nearly a second
	close(stall)
	eventually(t, "all to arrive", func() bool { return count() == events })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	most := 0
	for i := range begun {
		n := 0
		for j := i; j < len(begun) && begun[j].Sub(begun[i]) < time.Second; j++ {
			n++
		}
		most = max(most, n)
	}
	if most > rate+rate/10+atOnce { // what may be claimed ahead, and what the host holds up
		t.Errorf("%d requests within a second at %d per second", most, rate)
	}
}

func TestRetriesWaitAsTheEndpointsOwnScheduleSays(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(receiver.Close)
	b := newBench(t, receiver.URL)
	b.exec(t, `UPDATE sonicus.endpoints SET retry_schedule = '{1, 7200}'`) // elsewhere it is an hour
	b.publish(t, 1)
	stop := b.start(t)
	eventually(t, "two attempts and a wait of two hours", func() bool {
		return b.count(t, `sonicus.deliveries WHERE attempt_count = 2`) == 1 &&
			b.count(t, `sonicus.queue WHERE due_at BETWEEN now() + interval '110 minutes' AND now() + interval '2 hours'`) == 1
	})
	stop()
	if n := b.count(t, `sonicus.attempts WHERE retry_in > 0 AND retry_after IS NULL AND first_byte_ms > 0 AND remote_address = '127.0.0.1'
		AND dns_ms IS NULL AND tls_ms IS NULL AND abs(webhook_timestamp - extract(epoch FROM started_at)) < 10`); n != 2 {
		t.Errorf("%d of 2 attempts tell how they went", n)
	}
}

func TestHintOfARetryLeadsToItsLane(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:1/")
	want := outbox.Lane{EndpointID: b.endpoint, Retry: true}
	b.Heard([]outbox.Lane{want})
	if asks, _ := b.lanes.asks(time.Now()); len(asks) != 1 || asks[0].Lane != want {
		t.Errorf("asks %+v", asks)
	}
}
