package e2e_test

import (
	"database/sql"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// TestSchemaGoesDownAndUpAgainUnderUnfinishedWork takes the schema back to what it
// was before it had lanes, as an operator does who returns to an older release, and
// forward again, with every kind of row in the tables.
func TestSchemaGoesDownAndUpAgainUnderUnfinishedWork(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(settings{"SONICUS_BREAKER_FAILURES": "0"}))
	w := leaveWork(svc)
	svc.api.signal(syscall.SIGTERM)
	svc.api.exitCode()

	newest := svc.books()
	svc.migrateDownTo("00006_lanes.sql")
	older := svc.books()
	newest.kept(t, older)
	if n := svc.count(`sonicus.endpoints WHERE last_success_at IS NOT NULL`); n == 0 {
		t.Error("no endpoint knows of its last success")
	}
	for id, before := range newest.next {
		if at := older.next[id]; !before.Valid && (!at.Valid || at.Time.After(older.at)) {
			t.Errorf("delivery %s waited for another one, and is due at %v", id, at)
		}
	}
	if code, _, stderr := svc.run("api", "migrate", "up"); code != 0 {
		t.Fatalf("up: exit code %d, %q", code, stderr)
	}
	older.kept(t, svc.books())
	svc.verified()

	w.recovered.Store(true)
	if _, err := svc.db.Exec(`UPDATE sonicus.queue SET lease_until = now(), due_at = now() WHERE lease_token IS NOT NULL`); err != nil { // as if the leases had ended
		t.Fatal(err)
	}
	svc.dispatcher()
	w.p.mustPublish(1, w.organization)
	svc.drained()
	if n := svc.count(`sonicus.deliveries WHERE status <> 'sent' AND failure_reason IS DISTINCT FROM 'gone'`); n != 0 {
		t.Errorf("%d deliveries are not sent", n)
	}
	for name, r := range w.receivers {
		if n, repeated := accepted(r.got()); n != w.published+1 || repeated != 0 {
			t.Errorf("the %s receiver accepted %d of %d deliveries, and %d again", name, n, w.published+1, repeated)
		}
	}
	svc.verified()
}

// work is what a dispatcher has left behind that was killed.
type work struct {
	p            *publisher
	organization uuid.UUID
	published    int // deliveries to each of the receivers
	receivers    map[string]*receiver
	recovered    atomic.Bool
}

// leaveWork fills the tables: deliveries that are sent, failed, retrying, leased,
// pending, and waiting for another one, and events of the service itself.
func leaveWork(svc *service) *work {
	svc.t.Helper()
	w := &work{p: newPublisher(svc), organization: uuid.New(), published: 4}
	refuse := func(int, *http.Request) int {
		if w.recovered.Load() {
			return http.StatusNoContent
		}
		return http.StatusInternalServerError
	}
	hang := func(n int, r *http.Request) int {
		if !w.recovered.Load() {
			<-r.Context().Done()
		}
		return refuse(n, r)
	}
	w.receivers = map[string]*receiver{
		"well": newReceiver(svc.t, nil), "refusing": newReceiver(svc.t, refuse), "hanging": newReceiver(svc.t, hang), "ordered": newReceiver(svc.t, refuse),
	}
	d := svc.dispatcher()
	w.switchOff("nobody is told of")
	told := newReceiver(svc.t, nil)
	svc.endpoint(told.URL, map[string]any{"events": []string{"webhook.*"}})
	w.switchOff("somebody is told of")
	told.await(1)

	for name, r := range w.receivers {
		ordering := map[bool]string{true: "organization", false: "none"}[name == "ordered"]
		svc.endpoint(r.URL, map[string]any{"name": name, "events": []string{"organization.*"}, "max_retries": 50, "timeout_seconds": 30, "ordering": ordering})
	}
	w.p.mustPublish(w.published-1, w.organization)
	for _, state := range []string{
		`d.status = 'sent' AND e.name = 'well' AND e.last_success_at IS NOT NULL`,
		`d.status = 'retrying' AND e.name = 'refusing' AND e.last_failure_at IS NOT NULL`,
		`d.status = 'retrying' AND e.name = 'ordered'`,
		`d.status = 'pending' AND e.name = 'ordered' AND d.next_attempt_at IS NULL`,
	} {
		eventually(svc.t, state, func() bool {
			return svc.count(`sonicus.webhook_deliveries d JOIN sonicus.webhook_endpoints e ON e.id = d.endpoint_id WHERE `+state) > 0
		})
	}
	eventually(svc.t, "requests to hang", func() bool { return w.receivers["hanging"].begunRequests() == w.published-1 })
	d.kill()
	eventually(svc.t, "its last statements to end", func() bool {
		return svc.count(`pg_stat_activity WHERE datname = current_database() AND application_name = 'sonicus-dispatcher'`) == 0
	})
	w.p.mustPublish(1, w.organization)
	return w
}

// switchOff registers an endpoint whose receiver is gone for good, and waits until
// the service has found out.
func (w *work) switchOff(name string) {
	w.p.s.t.Helper()
	gone := newReceiver(w.p.s.t, func(int, *http.Request) int { return http.StatusGone })
	id := w.p.s.endpoint(gone.URL, map[string]any{"name": name})
	w.p.mustPublish(1, uuid.New())
	eventually(w.p.s.t, "the endpoint to be switched off", func() bool {
		return w.p.s.count(`sonicus.webhook_endpoints WHERE id = $1 AND disabled_reason = 'gone'`, id) == 1
	})
}

// books are what the tables say in any schema.
type books struct {
	at   time.Time
	rows []string                // deliveries, attempts, and how endpoints are
	next map[string]sql.NullTime // when deliveries are due, or their lease ends
}

func (s *service) books() books {
	s.t.Helper()
	b := books{next: map[string]sql.NullTime{}}
	var due []struct {
		ID string       `db:"id"`
		At sql.NullTime `db:"next_attempt_at"`
	}
	for query, dest := range map[string]any{
		`SELECT (to_jsonb(d) - '{next_attempt_at,test,replay_id}'::text[])::text FROM sonicus.webhook_deliveries d
		 UNION ALL SELECT (to_jsonb(a) - '{took_over,webhook_timestamp,remote_address,dns_ms,connect_ms,tls_ms,first_byte_ms,retry_in,retry_after}'::text[])::text FROM sonicus.attempts a
		 UNION ALL SELECT jsonb_build_array(id, is_active, disabled_reason, last_success_at, last_failure_at)::text FROM sonicus.webhook_endpoints
		 ORDER BY 1`: &b.rows,
		`SELECT id, next_attempt_at FROM sonicus.webhook_deliveries WHERE status IN ('pending', 'retrying')`: &due,
	} {
		if err := s.db.Select(dest, query); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, d := range due {
		b.next[d.ID] = d.At
	}
	if err := s.db.Get(&b.at, `SELECT clock_timestamp()`); err != nil {
		s.t.Fatal(err)
	}
	return b
}

// kept checks that a migration has lost nothing.
func (b books) kept(t *testing.T, after books) {
	t.Helper()
	if diff := cmp.Diff(b.rows, after.rows); diff != "" {
		t.Error(diff)
	}
	for id, at := range b.next {
		if next, queued := after.next[id]; !queued || at.Valid && !at.Time.Equal(next.Time) {
			t.Errorf("delivery %s was due at %v, and is at %v (queued: %v)", id, at, next, queued)
		}
	}
}

// migrateDownTo takes migrations back, the last of them by its name.
func (s *service) migrateDownTo(last string) {
	s.t.Helper()
	for {
		code, stdout, stderr := s.run("api", "migrate", "down")
		if code != 0 || strings.Contains(stdout, "nothing") {
			s.t.Fatalf("down: exit code %d, %q, %q", code, stdout, stderr)
		}
		if strings.Contains(stdout, last) {
			return
		}
	}
}
