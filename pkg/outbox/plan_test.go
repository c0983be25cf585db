package outbox

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// node is a step of a plan as EXPLAIN (FORMAT JSON) shows it.
type node struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Index    string `json:"Index Name"`
	Cond     string `json:"Index Cond"`
	Plans    []node `json:"Plans"`
}

// explain plans a statement with its arguments as the service runs it, and returns
// the steps that read or write tables.
func explain(t *testing.T, db *sqlx.DB, query string, args ...any) []node {
	t.Helper()
	var text string
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
		return tx.GetContext(t.Context(), &text, `EXPLAIN (FORMAT JSON) `+query, args...)
	})
	if err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan node `json:"Plan"`
	}
	if err := json.Unmarshal([]byte(text), &plans); err != nil {
		t.Fatal(err)
	}
	var steps []node
	var walk func(node)
	walk = func(n node) {
		if n.Relation != "" {
			steps = append(steps, n)
		}
		for _, p := range n.Plans {
			walk(p)
		}
	}
	walk(plans[0].Plan)
	return steps
}

// backlog fills the tables: deliveries in the partitions of three days, of which
// a few are queued for each of so many endpoints. It returns ids of today's
// deliveries and of endpoints.
func backlog(t *testing.T, db *sqlx.DB, endpoints, deliveries int) (ids, hooks []uuid.UUID) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO sonicus.endpoints (id, url, name, events, created_at, updated_at)
		 SELECT gen_random_uuid(), 'http://127.0.0.1:9/', 'e', '["*"]', now(), now() FROM generate_series(1, $1::int) WHERE $2::int > 0`,
		`INSERT INTO sonicus.events (id, event_type, payload, fanout, created_at)
		 SELECT overlay(sonicus.id_floor(now() + (n % 3) * interval '1 day')::text PLACING lpad(to_hex(n), 12, '0') FROM 25)::uuid, 'x', '{}', 1, now()
		 FROM generate_series(1, $2::int) n WHERE $1::int > 0`,
		`INSERT INTO sonicus.deliveries (id, event_id, endpoint_id, event_type, max_attempts, created_at)
		 SELECT v.id, v.id, e.id, 'x', 1, now()
		 FROM (SELECT id, row_number() OVER () % $1::int AS n FROM sonicus.events) v
		 JOIN (SELECT id, row_number() OVER () - 1 AS n FROM sonicus.endpoints) e USING (n) WHERE $2::int > 0`,
		`INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at)
		 SELECT id, endpoint_id, clock_timestamp() FROM sonicus.deliveries WHERE $1::int + $2::int > 0`,
		`INSERT INTO sonicus.attempts (delivery_id, number, lease_token, started_at, duration_ms, dispatcher)
		 SELECT id, 1, 1, now(), 1, 'x' FROM sonicus.deliveries WHERE $1::int + $2::int > 0`,
	} {
		if _, err := db.ExecContext(t.Context(), statement, endpoints, deliveries); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.ExecContext(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
	if err := db.SelectContext(t.Context(), &ids, `SELECT id FROM sonicus.deliveries WHERE id < sonicus.id_floor(now() + interval '1 hour') LIMIT 100`); err != nil {
		t.Fatal(err)
	}
	if err := db.SelectContext(t.Context(), &hooks, `SELECT id FROM sonicus.endpoints LIMIT 64`); err != nil {
		t.Fatal(err)
	}
	return ids, hooks
}

// The cost of claiming and settling must not depend on what else is in the tables:
// the queue is read through its lanes, from the lower bound on, and of partitioned
// tables only the days that the ids name.
func TestPlansStayTheSame(t *testing.T) {
	t.Parallel()
	for name, endpoints := range map[string]int{"one endpoint": 1, "many endpoints": 2000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			ids, hooks := backlog(t, db, endpoints, 60_000)
			var asks []Ask
			for _, h := range hooks {
				asks = append(asks, Ask{Lane: Lane{EndpointID: h}, Since: time.Now().Add(-time.Second), Most: 10})
			}
			a, b, c, d := askColumns(asks)
			claiming := explain(t, db, claim, a, b, c, d, 1, 15.0, 0.1)
			lane := slices.IndexFunc(claiming, func(n node) bool { return n.Index == "queue_lane_idx" })
			if lane < 0 || !strings.Contains(claiming[lane].Cond, "due_at >=") || !strings.Contains(claiming[lane].Cond, "due_at <=") ||
				!strings.Contains(claiming[lane].Cond, "endpoint_id =") {
				t.Errorf("a lane is not read by its index between two bounds: %+v", claiming)
			}
			readsNoWholeTable(t, claiming, "queue")

			low, high := span(ids)
			loading := explain(t, db, load, pq.Array(ids), low, high)
			readsOneDay(t, loading)
			var results columns
			for _, id := range ids {
				results.add(Result{Claimed: Claimed{DeliveryID: id}, Status: Sent})
			}
			settling := explain(t, db, settle, results.arguments("test")...)
			readsNoWholeTable(t, settling, "queue")
			readsOneDay(t, settling)
		})
	}
}

func readsNoWholeTable(t *testing.T, steps []node, table string) {
	t.Helper()
	for _, n := range steps {
		if n.Relation == table && n.Type == "Seq Scan" {
			t.Errorf("the whole %s is read", table)
		}
	}
}

// readsOneDay fails for every partition that is not today's.
func readsOneDay(t *testing.T, steps []node) {
	t.Helper()
	today, found := time.Now().UTC().Format("20060102"), false
	for _, n := range steps {
		_, suffix, partition := strings.Cut(n.Relation, "_20")
		if !partition {
			continue
		}
		if "20"+suffix != today {
			t.Errorf("%s is visited for ids of today", n.Relation)
		}
		if n.Type == "Seq Scan" {
			t.Errorf("the whole %s is read", n.Relation)
		}
		found = true
	}
	if !found {
		t.Error("no partition is visited at all")
	}
}

// A settled row is a little longer, so now and then a full page has no room for it.
func TestClaimingAndSettlingAreHotUpdates(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, hooks := backlog(t, db, 1, 300)
	if _, err := db.ExecContext(t.Context(), `TRUNCATE sonicus.attempts`); err != nil {
		t.Fatal(err)
	}
	claimed, _, err := Claim(t.Context(), db, []Ask{{Lane: Lane{EndpointID: hooks[0]}, Most: 50}})
	if err != nil || len(claimed) != 50 {
		t.Fatalf("claimed %d, %v", len(claimed), err)
	}
	err = postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
		results := make([]Result, len(claimed))
		for i, c := range claimed {
			results[i] = Result{Claimed: c, StartedAt: time.Now(), HTTPStatus: 204, Status: Sent}
		}
		if _, err := Settle(t.Context(), tx, "test", results); err != nil {
			return err
		}
		var hot, all int
		err := tx.QueryRowContext(t.Context(), `SELECT sum(pg_stat_get_xact_tuples_hot_updated(oid)), sum(pg_stat_get_xact_tuples_updated(oid))
			FROM pg_class WHERE relname LIKE 'deliveries\_2%'`).Scan(&hot, &all)
		if all != 50 || hot < 45 {
			t.Errorf("%d of %d updates of deliveries are HOT", hot, all)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
		a, b, c, d := askColumns([]Ask{{Lane: Lane{EndpointID: hooks[0]}, Most: 50}})
		if _, err := tx.ExecContext(t.Context(), claim, a, b, c, d, 2, 15.0, 0.1); err != nil {
			return err
		}
		var hot, all int
		err := tx.QueryRowContext(t.Context(), `SELECT pg_stat_get_xact_tuples_hot_updated(oid), pg_stat_get_xact_tuples_updated(oid)
			FROM pg_class WHERE oid = 'sonicus.queue'::regclass`).Scan(&hot, &all)
		if all == 0 || hot != all {
			t.Errorf("%d of %d claims are HOT updates", hot, all)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
