package dispatch

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// arrivals counts requests by event and delivery.
type arrivals struct {
	mu         sync.Mutex
	events     map[string]int
	deliveries map[string]int
}

func (a *arrivals) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events[r.Header.Get("webhook-id")]++
	a.deliveries[r.Header.Get("X-Sonicus-Delivery-ID")]++
}

func (b *bench) replay(t *testing.T, rate int) uuid.UUID {
	t.Helper()
	since := time.Now().Add(-time.Hour)
	r, err := outbox.NewReplays(b.db).Create(t.Context(), outbox.NewReplay{Mode: outbox.ReplayAll, Since: &since, RateLimit: &rate})
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func TestReplayedEventsKeepTheirIDAndAreDeliveriesOfTheirOwn(t *testing.T) {
	t.Parallel()
	got := &arrivals{events: map[string]int{}, deliveries: map[string]int{}}
	receiver := httptest.NewServer(got)
	t.Cleanup(receiver.Close)
	b := newBench(t, receiver.URL)
	const n = 30
	b.publish(t, n)
	b.run(t)
	eventually(t, "the first deliveries", func() bool { return b.count(t, `sonicus.deliveries WHERE status = 'sent'`) == n })
	b.replay(t, 1000)
	eventually(t, "the second deliveries", func() bool { return b.count(t, `sonicus.deliveries WHERE status = 'sent'`) == 2*n })
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.events) != n || len(got.deliveries) != 2*n {
		t.Errorf("%d events in %d deliveries", len(got.events), len(got.deliveries))
	}
	for id, times := range got.events {
		if times != 2 {
			t.Errorf("%s came %d times", id, times)
		}
	}
	if made := b.Counters().ReplayedDeliveries.Load(); made != n {
		t.Errorf("%d counted as replayed", made)
	}
}

// A replay that cannot go on is given up, and holds up no other; while the database is
// in trouble none is.
func TestReplayingSurvivesFaults(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:9/")
	b.publish(t, 5)
	b.exec(t, `UPDATE sonicus.endpoints SET paused_at = now()`)
	b.exec(t, `DELETE FROM sonicus.queue`)
	b.exec(t, `UPDATE sonicus.deliveries SET status = 'failed', failure_reason = 'canceled'`)
	b.exec(t, `CREATE SEQUENCE sonicus.faults`)
	b.exec(t, `CREATE FUNCTION sonicus.fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('sonicus.faults'); RAISE 'disk full' USING ERRCODE = 'disk_full'; END $$`)
	b.exec(t, `CREATE TRIGGER fault BEFORE INSERT ON sonicus.queue FOR EACH ROW EXECUTE FUNCTION sonicus.fault()`)
	survivor := b.replay(t, 1000)
	b.run(t)
	eventually(t, "two failures", func() bool { return b.count(t, `(SELECT FROM sonicus.faults WHERE last_value >= 2) f`) == 1 })
	b.exec(t, `DROP TRIGGER fault ON sonicus.queue`)
	eventually(t, "the end of the replay", func() bool { return b.count(t, `sonicus.replays WHERE state = 'done' AND created = 5`) == 1 })
	if n := b.count(t, `sonicus.deliveries WHERE replay_id = '`+survivor.String()+`'`); n != 5 {
		t.Errorf("%d of 5 made", n)
	}

	b.exec(t, `DELETE FROM sonicus.queue`)
	b.exec(t, `UPDATE sonicus.deliveries SET status = 'failed', failure_reason = 'canceled'`)
	b.exec(t, `CREATE OR REPLACE FUNCTION sonicus.fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.generation = 3 THEN RAISE 'impossible'; END IF; RETURN NEW; END $$`)
	b.exec(t, `CREATE TRIGGER fault BEFORE INSERT ON sonicus.deliveries FOR EACH ROW EXECUTE FUNCTION sonicus.fault()`)
	b.replay(t, 1000)
	eventually(t, "the replay to be given up", func() bool {
		return b.count(t, `sonicus.replays WHERE state = 'failed' AND failure_reason = 'internal' AND created = 0`) == 1
	})
}

// A replay whose steps take longer than the database lets them is tried again and
// again, but others get their turn.
func TestReplayThatIsTooSlowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:9/")
	b.publish(t, 5)
	b.exec(t, `UPDATE sonicus.endpoints SET paused_at = now()`)
	b.exec(t, `DELETE FROM sonicus.queue`)
	b.exec(t, `UPDATE sonicus.deliveries SET status = 'failed', failure_reason = 'canceled'`)
	slow := b.replay(t, 1000)
	b.exec(t, `CREATE FUNCTION sonicus.fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too slow' USING ERRCODE = 'query_canceled'; END $$`)
	b.exec(t, `CREATE TRIGGER fault BEFORE INSERT ON sonicus.deliveries FOR EACH ROW WHEN (NEW.replay_id = '`+slow.String()+`') EXECUTE FUNCTION sonicus.fault()`)
	b.replay(t, 1000)
	b.run(t)
	eventually(t, "the end of the other", func() bool { return b.count(t, `sonicus.replays WHERE state = 'done' AND created = 5`) == 1 })
	b.exec(t, `DROP TRIGGER fault ON sonicus.deliveries`)
	eventually(t, "the end of the slow one", func() bool {
		return b.count(t, `sonicus.replays WHERE state = 'done' AND created = 0 AND id = '`+slow.String()+`'`) == 1
	})
}
