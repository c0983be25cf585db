package dispatch

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// total is what the statistics say of the last hour.
func (b *bench) total(t *testing.T) outbox.Statistics {
	t.Helper()
	s, err := outbox.NewReporter(b.db).Total(t.Context(), outbox.Windows()[0])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start delivers until stop is called, which waits for the end.
func (b *bench) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, context.Background()) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAStopWritesTheStatisticsThatAreLeft(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Sonicus-Attempt") == "1" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(receiver.Close)
	b := newBench(t, receiver.URL)
	b.exec(t, `UPDATE sonicus.endpoints SET retry_schedule = '{1}'`)
	b.publish(t, 5)
	b.publishTest(t) // is not counted
	stop := b.start(t)
	eventually(t, "all to be sent", func() bool { return b.count(t, `sonicus.deliveries WHERE status = 'sent'`) == 6 })
	stop()
	got := b.total(t)
	if p50, answered := got.ResponseTimes.Quantile(0.5); got.Sent != 5 || got.Retrying != 5 || got.Attempts != 10 || !answered || p50 <= 0 {
		t.Errorf("got %+v", got)
	}
}

func TestStatisticsThatCannotBeWrittenAreKept(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	b := newBench(t, receiver.URL)
	b.exec(t, `ALTER TABLE sonicus.delivery_stats RENAME TO away`)
	b.publish(t, 3)
	stop := b.start(t)
	eventually(t, "all to be sent", func() bool { return b.count(t, `sonicus.deliveries WHERE status = 'sent'`) == 3 })
	if err := b.stats.write(t.Context()); err == nil {
		t.Error("written into nothing")
	}
	b.publish(t, 2)
	eventually(t, "the others to be sent", func() bool { return b.count(t, `sonicus.deliveries WHERE status = 'sent'`) == 5 })
	b.exec(t, `ALTER TABLE sonicus.away RENAME TO delivery_stats`)
	stop()
	if got := b.total(t); got.Sent != 5 {
		t.Errorf("got %+v", got)
	}
}

// A late result has not been applied: what became of the delivery is another's to tell.
func TestLateResultsAreNotCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:9/")
	b.publish(t, 2)
	claimed := b.claimAll(t)
	b.exec(t, `UPDATE sonicus.queue SET lease_token = 1 WHERE delivery_id = $1`, claimed[0].DeliveryID) // another has taken it over
	var group []finished
	for _, c := range claimed {
		group = append(group, finished{result: outbox.Result{Claimed: c, StartedAt: time.Now(), HTTPStatus: 200, Status: outbox.Sent}})
	}
	if !b.settler.settleAll(t.Context(), group) {
		t.Fatal("the group was not settled")
	}
	if err := b.stats.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.total(t); got.Sent != 1 || b.counters.LateResults.Load() != 1 {
		t.Errorf("%d late, got %+v", b.counters.LateResults.Load(), got)
	}
}

func sentTo(endpoints int) []outbox.Result {
	results := make([]outbox.Result, endpoints)
	for i := range results {
		results[i].EndpointID, results[i].DeliveryID, results[i].Status = uuid.New(), uuid.New(), outbox.Sent
	}
	return results
}

func TestStatisticsAreWrittenWhenTheyAreWorthItOrOld(t *testing.T) {
	t.Parallel()
	s := newStatistics(nil, slog.New(slog.DiscardHandler))
	if s.due(time.Now().Add(time.Hour)) {
		t.Error("nothing is due")
	}
	now, one := time.Now(), sentTo(1)
	for range 2*tallyWorth - 1 { // a row of the endpoint, and one of all
		s.note(now, one, nil)
	}
	if s.due(time.Now()) || !s.due(time.Now().Add(tallyLatest)) {
		t.Error("due at once, or not even later")
	}
	if s.note(now, one, nil); !s.due(time.Now()) {
		t.Error("as many as are worth it are not due")
	}
}

func TestStatisticsAreBoundedAndTheTotalsAreKept(t *testing.T) {
	t.Parallel()
	s := newStatistics(nil, slog.New(slog.DiscardHandler))
	for range 3 {
		s.note(time.Now(), sentTo(tallyMost/2), nil)
	}
	if len(s.pending) > tallyMost || s.attempts != 3*tallyMost/2 {
		t.Errorf("%d rows of %d attempts", len(s.pending), s.attempts)
	}
}
