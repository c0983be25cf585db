package dispatch

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// run starts the dispatcher, and stops it when the test ends.
func (b *bench) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, context.Background()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// publishTest is what the API does to trigger a test.
func (b *bench) publishTest(t *testing.T) {
	t.Helper()
	err := postgres.InTx(t.Context(), b.db, func(tx *postgres.Tx, now time.Time) error {
		ev, err := event.NewOrganizationTest(postgres.NewID(now), now)
		if err != nil {
			return err
		}
		_, err = outbox.Publish(t.Context(), tx, ev)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// answering is a receiver that answers with the status, which may change.
func answering(t *testing.T, status int32) (url string, now *atomic.Int32) {
	t.Helper()
	now = new(atomic.Int32)
	now.Store(status)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(now.Load())) }))
	t.Cleanup(receiver.Close)
	return receiver.URL, now
}

// touchy is a policy under which one failure would be enough for everything.
var touchy = outbox.BreakerPolicy{Failures: 1, FirstOpen: time.Hour, MaxOpen: time.Hour, DisableAfter: time.Nanosecond}

const healthFigures = `SELECT concat_ws(' ', breaker_state, failures, openings, failing_since, last_success_at, last_failure_at, recovering_since, e.is_active)
	FROM sonicus.lanes l JOIN sonicus.endpoints e ON e.id = l.endpoint_id`

func (b *bench) health(t *testing.T) (figures string) {
	t.Helper()
	if err := b.db.GetContext(t.Context(), &figures, healthFigures); err != nil {
		t.Fatal(err)
	}
	return figures
}

func TestTestsSayNothingOfHowAnEndpointDoes(t *testing.T) {
	t.Parallel()
	const (
		well    = `last_success_at = now() - interval '1 hour'`
		shaky   = `failures = 1, failing_since = now() - interval '1 hour', last_failure_at = now() - interval '1 hour'`
		broken  = shaky + `, breaker_state = 'open', breaker_until = now() - interval '1 second', openings = 1`
		settled = `sonicus.deliveries WHERE attempt_count = 1`
	)
	for name, state := range map[string]string{"that is well": well, "that is failing": shaky, "whose breaker is open": broken} {
		for _, status := range []int32{200, 410, 500} {
			t.Run(http.StatusText(int(status))+" of an endpoint "+name, func(t *testing.T) {
				t.Parallel()
				url, _ := answering(t, status)
				b := newBench(t, url)
				b.settler.settings.Breaker = touchy
				b.exec(t, `UPDATE sonicus.lanes SET `+state)
				before := b.health(t)
				b.publishTest(t)
				b.run(t)
				eventually(t, "the test to be recorded", func() bool { return b.count(t, settled) == 1 })
				if after := b.health(t); after != before {
					t.Errorf("was %s\nand is %s", before, after)
				}
			})
		}
	}
}

// A test that is let through as the probe of an open breaker must not keep real
// deliveries waiting for the end of its lease.
func TestTestsHoldUpNoProbe(t *testing.T) {
	t.Parallel()
	url, status := answering(t, 500)
	b := newBench(t, url)
	b.settler.settings.Breaker = touchy
	b.settler.settings.Breaker.DisableAfter = 0
	b.exec(t, `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now(), failures = 1, openings = 1, failing_since = now()`)
	b.exec(t, `UPDATE sonicus.endpoints SET timeout_seconds = 30`)
	b.publishTest(t)
	b.publish(t, 1)
	status.Store(204)
	b.run(t)
	begun := time.Now()
	eventually(t, "the breaker to be closed by what is no test", func() bool { return b.count(t, `sonicus.lanes WHERE breaker_state = 'closed'`) == 1 })
	if took := time.Since(begun); took > 20*time.Second { // a lease lasts 45 seconds
		t.Errorf("took %v", took)
	}
}

func TestTestsAreInNoStatistics(t *testing.T) {
	t.Parallel()
	s := newStatistics(nil, slog.New(slog.DiscardHandler))
	s.note(time.Now(), []outbox.Result{{Claimed: outbox.Claimed{Test: true}, Status: outbox.Failed}}, nil)
	if len(s.pending) > 0 || s.attempts > 0 {
		t.Errorf("counted: %+v", s.pending)
	}
	s.note(time.Now(), []outbox.Result{{Status: outbox.Sent}}, nil)
	if len(s.pending) == 0 || s.attempts != 1 {
		t.Errorf("not counted: %+v", s.pending)
	}
}
