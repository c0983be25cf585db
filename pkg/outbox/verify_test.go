package outbox_test

import (
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// Every invariant must be able to fail: each case breaks exactly one book.
func TestVerifyFindsBrokenBooks(t *testing.T) {
	t.Parallel()
	rules := outbox.Invariants()
	for _, c := range []struct {
		name, damage string
		rule         int
	}{
		{"work without a queue row", `DELETE FROM sonicus.queue WHERE delivery_id = (SELECT delivery_id FROM sonicus.queue LIMIT 1)`, 0},
		{"queue row of a sent delivery", `INSERT INTO sonicus.queue SELECT id, endpoint_id, now() FROM sonicus.deliveries WHERE status = 'sent'`, 1},
		{"organization without its event", `DELETE FROM sonicus.events WHERE fanout = 0`, 2},
		{"fan-out that does not add up", `UPDATE sonicus.events SET fanout = fanout + 1 WHERE fanout = 0`, 3},
		{"attempt missing", `DELETE FROM sonicus.attempts WHERE reason IS NOT NULL AND number = 1`, 4},
		{"attempt of nothing", `INSERT INTO sonicus.attempts (delivery_id, number, lease_token, started_at, duration_ms, dispatcher)
			VALUES (sonicus.id_floor(now()), 1, 0, now(), 0, 'x')`, 5},
		{"sent without a 2xx", `UPDATE sonicus.attempts SET http_status_code = 500 WHERE http_status_code = 204`, 6},
		{"lease without end", `UPDATE sonicus.queue SET lease_token = 1, lease_until = now() + interval '1 year'
			WHERE delivery_id = (SELECT delivery_id FROM sonicus.queue LIMIT 1)`, 7},
		{"first attempt among the retries", `UPDATE sonicus.queue SET retry = true WHERE NOT retry`, 8},
		{"waiting for nothing", `UPDATE sonicus.queue SET due_at = NULL, organization_id = gen_random_uuid(), position = 1 WHERE retry`, 9},
		{"endpoint that is never sent to", `DELETE FROM sonicus.lanes`, 10},
		{"given up for an endpoint that is there", `WITH q AS (DELETE FROM sonicus.queue WHERE retry RETURNING delivery_id)
			UPDATE sonicus.deliveries d SET status = 'failed', failure_reason = 'endpoint_deleted' FROM q WHERE d.id = q.delivery_id`, 11},
		{"delivery of a replay that never was", `UPDATE sonicus.deliveries SET replay_id = gen_random_uuid() WHERE status = 'sent'`, 12},
		{"replay that counts what it has not made", `INSERT INTO sonicus.replays
			(id, mode, since, until, rate_limit, created, position, paced_until, requested_by, created_at, updated_at)
			VALUES (gen_random_uuid(), 'all', 'epoch', now(), 1, 1, gen_random_uuid(), now(), 'x', now(), now())`, 13},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			publish(t, db, organization(t, db), 1) // before there is an endpoint: fanout 0
			endpoint(t, db, target{MaxRetries: 2})
			for range 3 {
				publish(t, db, organization(t, db), 1)
			}
			claimed := claim(t, db, 2)
			settle(t, db, sent(claimed[0]), retrying(claimed[1], time.Hour))
			booksAgree(t, db)

			exec(t, db, c.damage)
			broken, err := outbox.Verify(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			if len(broken) == 0 || broken[0].Invariant != rules[c.rule] || broken[0].Count != 1 || broken[0].Example == "" {
				t.Errorf("found %+v, want one violation of %q", broken, rules[c.rule])
			}
		})
	}
	if len(rules) != 14 {
		t.Errorf("%d invariants, 14 are tested here", len(rules))
	}
}
