package outbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// Each lane is in one state; what finds it says so.
func TestSweepAndArrivalsFindWhatThereIs(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	const (
		lease = `UPDATE sonicus.queue SET lease_token = 1, lease_until = clock_timestamp() + interval '1 minute' WHERE endpoint_id = $1`
		retry = `UPDATE sonicus.queue SET retry = true, due_at = clock_timestamp() + interval '5 seconds' WHERE endpoint_id = $1`
	)
	type found struct{ sweep, later, arrivals bool }
	cases := []struct {
		name, state string
		retry       bool
		want        found
	}{
		{"new", ``, false, found{true, false, true}},
		{"leased", lease, false, found{}},
		{"lease ended", `UPDATE sonicus.queue SET lease_token = 1, lease_until = clock_timestamp() - interval '1 second' WHERE endpoint_id = $1`, false, found{true, false, false}},
		{"retry due", `UPDATE sonicus.queue SET retry = true WHERE endpoint_id = $1`, true, found{true, false, false}},
		{"retry due soon", retry, true, found{true, true, false}},
		{"retry due later", `UPDATE sonicus.queue SET retry = true, due_at = clock_timestamp() + interval '1 hour' WHERE endpoint_id = $1`, true, found{}},
		{"paused", `UPDATE sonicus.endpoints SET paused_at = now() WHERE id = $1`, false, found{false, false, true}},
		{"inactive", `UPDATE sonicus.endpoints SET is_active = false WHERE id = $1`, false, found{false, false, true}},
		{"deleted", `UPDATE sonicus.endpoints SET deleted_at = now() WHERE id = $1`, false, found{false, false, true}},
		{"open", `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now() + interval '1 hour' WHERE endpoint_id = $1`, false, found{false, false, true}},
		{"open, probe soon", `UPDATE sonicus.lanes SET breaker_state = 'open', breaker_until = now() + interval '5 seconds' WHERE endpoint_id = $1`, false, found{true, true, true}},
		{"published long ago", `UPDATE sonicus.queue SET delivery_id = sonicus.id_floor(now() - interval '1 hour') WHERE endpoint_id = $1`, false, found{true, false, false}},
		{"empty", `DELETE FROM sonicus.queue WHERE endpoint_id = $1`, false, found{}},
	}
	lanes := make([]outbox.Lane, len(cases))
	for i, c := range cases {
		lanes[i] = outbox.Lane{EndpointID: endpoint(t, db, target{}), Retry: c.retry}
	}
	publish(t, db, organization(t, db), 1)
	for i, c := range cases {
		if c.state != "" {
			exec(t, db, c.state, lanes[i].EndpointID)
		}
	}
	sweep, arrivals := byLane(t, db, outbox.Sweep, 20*time.Second), byLane(t, db, outbox.Arrivals, 10*time.Minute)
	for i, c := range cases {
		s, swept := sweep[lanes[i]]
		a, arrived := arrivals[lanes[i]]
		if got := (found{swept, s.In > 0, arrived}); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if s.In > 5*time.Second || s.In < 0 || a.In != 0 {
			t.Errorf("%s: in %s and %s", c.name, s.In, a.In)
		}
		if arrived && count(t, db, `sonicus.queue WHERE endpoint_id = $1 AND due_at = $2`, lanes[i].EndpointID, a.Since) != 1 ||
			swept && count(t, db, `sonicus.queue WHERE endpoint_id = $1 AND due_at = $2`, lanes[i].EndpointID, s.Since) != 1 {
			t.Errorf("%s: not since the first of it", c.name)
		}
	}
}

type findFunc func(context.Context, *sqlx.DB, time.Duration) ([]outbox.Work, error)

func byLane(t *testing.T, db *sqlx.DB, find findFunc, within time.Duration) map[outbox.Lane]outbox.Work {
	t.Helper()
	work, err := find(t.Context(), db, within)
	if err != nil {
		t.Fatal(err)
	}
	found := map[outbox.Lane]outbox.Work{}
	for _, w := range work {
		if _, twice := found[w.Lane]; twice || w.EndpointID == uuid.Nil {
			t.Errorf("found twice: %+v", w)
		}
		found[w.Lane] = w
	}
	return found
}
