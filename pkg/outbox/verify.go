package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// Violation is a broken invariant of the books.
type Violation struct {
	Invariant string `json:"invariant"`
	Count     int    `json:"count"`
	Example   string `json:"example"` // id of one of the rows
}

// invariants hold at every moment, also while dispatchers work: each query reads
// one snapshot and returns the ids that break the rule.
var invariants = []struct{ rule, query string }{
	{
		"a pending or retrying delivery has a queue row",
		`SELECT d.id FROM sonicus.deliveries d LEFT JOIN sonicus.queue q ON q.delivery_id = d.id
		 WHERE d.status IN ('pending', 'retrying') AND q.delivery_id IS NULL`,
	},
	{
		"a queue row has a pending or retrying delivery of the same endpoint",
		`SELECT q.delivery_id FROM sonicus.queue q LEFT JOIN sonicus.deliveries d ON d.id = q.delivery_id
		 WHERE d.id IS NULL OR d.status NOT IN ('pending', 'retrying') OR d.endpoint_id <> q.endpoint_id`,
	},
	{
		"an organization has one organization.created event",
		`SELECT o.id FROM sonicus.organizations o
		 LEFT JOIN sonicus.events e ON e.organization_id = o.id AND e.event_type = 'organization.created'
		 GROUP BY o.id HAVING count(e.id) <> 1`,
	},
	{
		"an event has one delivery for each endpoint that it was fanned out to",
		`SELECT e.id FROM sonicus.events e LEFT JOIN sonicus.deliveries d ON d.event_id = e.id AND d.generation = 1
		 GROUP BY e.id, e.fanout HAVING count(d.id) <> e.fanout OR count(DISTINCT d.endpoint_id) <> e.fanout`,
	},
	{
		"attempt_count is the number of attempts, numbered 1 to n",
		`SELECT d.id FROM sonicus.deliveries d LEFT JOIN sonicus.attempts a ON a.delivery_id = d.id
		 GROUP BY d.id, d.attempt_count
		 HAVING count(a.number) <> d.attempt_count OR (d.attempt_count > 0 AND (min(a.number) <> 1 OR max(a.number) <> d.attempt_count))`,
	},
	{
		"attempts belong to a delivery and are no more than max_attempts",
		`SELECT a.delivery_id FROM sonicus.attempts a LEFT JOIN sonicus.deliveries d ON d.id = a.delivery_id
		 WHERE d.id IS NULL OR a.number > d.max_attempts`,
	},
	{
		"the status agrees with the last attempt",
		`SELECT d.id FROM sonicus.deliveries d LEFT JOIN sonicus.attempts a ON a.delivery_id = d.id AND a.number = d.attempt_count
		 WHERE (d.status = 'pending') <> (d.attempt_count = 0) AND d.failure_reason IS NULL
		    OR d.status = 'sent' AND coalesce(a.http_status_code, 0) NOT BETWEEN 200 AND 299
		    OR d.status = 'retrying' AND a.reason IS NULL
		    OR d.failure_reason = 'exhausted' AND (a.reason IS NULL OR d.attempt_count <> d.max_attempts)
		    OR d.failure_reason = 'gone' AND a.http_status_code IS DISTINCT FROM 410`,
	},
	{
		"a lease ends",
		`SELECT q.delivery_id FROM sonicus.queue q
		 WHERE q.lease_until > clock_timestamp() + interval '5 minutes'`,
	},
	{
		"a queue row is in the lane of its status",
		`SELECT q.delivery_id FROM sonicus.queue q JOIN sonicus.deliveries d ON d.id = q.delivery_id
		 WHERE q.retry <> (d.status = 'retrying')`,
	},
	{
		"a delivery that waits for its turn has another one before it",
		`SELECT q.delivery_id FROM sonicus.queue q
		 WHERE q.due_at IS NULL AND NOT EXISTS (SELECT FROM sonicus.queue p WHERE p.endpoint_id = q.endpoint_id
		                                        AND p.organization_id = q.organization_id AND p.position < q.position)
		   AND NOT EXISTS (SELECT FROM sonicus.endpoints e WHERE e.id = q.endpoint_id AND e.deleted_at IS NOT NULL)`,
	},
	{
		"an endpoint has its lane",
		`SELECT e.id FROM sonicus.endpoints e LEFT JOIN sonicus.lanes l ON l.endpoint_id = e.id WHERE l.endpoint_id IS NULL`,
	},
	{
		"only deliveries to deleted endpoints have failed as endpoint_deleted",
		`SELECT d.id FROM sonicus.deliveries d LEFT JOIN sonicus.endpoints e ON e.id = d.endpoint_id
		 WHERE d.failure_reason = 'endpoint_deleted' AND e.deleted_at IS NULL`,
	},
	{
		"what is not the first generation was made by a replay",
		`SELECT d.id FROM sonicus.deliveries d LEFT JOIN sonicus.replays r ON r.id = d.replay_id
		 WHERE (d.generation = 1) <> (d.replay_id IS NULL) OR (d.replay_id IS NOT NULL AND r.id IS NULL)`,
	},
	{
		"a replay has made as many deliveries as it counts",
		`SELECT r.id FROM sonicus.replays r LEFT JOIN sonicus.deliveries d ON d.replay_id = r.id
		 GROUP BY r.id, r.created HAVING count(d.id) <> r.created`,
	},
}

// Invariants names the rules that [Verify] checks.
func Invariants() []string {
	names := make([]string, len(invariants))
	for i, v := range invariants {
		names[i] = v.rule
	}
	return names
}

// Verify checks the books and returns what is broken; nothing when all is well.
// It reads whole tables: minutes at many millions of deliveries.
func Verify(ctx context.Context, db *sqlx.DB) ([]Violation, error) {
	var broken []Violation
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		if _, err := tx.ExecContext(ctx, `SELECT set_config('statement_timeout', '0', true)`); err != nil {
			return err
		}
		for _, v := range invariants {
			found := struct {
				Count   int    `db:"count"`
				Example string `db:"example"`
			}{}
			query := `SELECT count(*) AS count, coalesce(min(id::text), '') AS example FROM (` + v.query + `) AS broken(id)`
			if err := tx.GetContext(ctx, &found, query); err != nil {
				return fmt.Errorf("%s: %w", v.rule, err)
			}
			if found.Count > 0 {
				broken = append(broken, Violation{v.rule, found.Count, found.Example})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return broken, nil
}
