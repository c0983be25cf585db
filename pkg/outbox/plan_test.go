package outbox

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// node is one step of a plan, as EXPLAIN (FORMAT JSON) shows it.
type node struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Cond     string  `json:"Index Cond"`
	Loops    float64 `json:"Actual Loops"`
	Rows     float64 `json:"Actual Rows"`
	Plans    []node  `json:"Plans"`
}

func (n node) all() []node {
	all := []node{n}
	for _, p := range n.Plans {
		all = append(all, p.all()...)
	}
	return all
}

// explain runs a statement, as its caller would, and returns the steps of its plan.
func explain(t *testing.T, tx *sqlx.Tx, statement string, args ...any) []node {
	t.Helper()
	var text string
	if err := tx.GetContext(t.Context(), &text, `EXPLAIN (ANALYZE, FORMAT JSON) `+statement, args...); err != nil {
		t.Fatal(err)
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal([]byte(text), &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan.all()
}

// What an event costs depends on the endpoints that it goes to, not on all that
// there are, and in a stream not on how many deliveries wait.
func TestPublishLooksOnlyAtWhatConcernsTheEvent(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mine := uuid.New()
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, now time.Time) error {
		for _, statement := range []string{
			`INSERT INTO sonicus.organizations (id, name, display_name, domain, primary_contact_email, subscription_tier, subscription_status, max_users, created_at, updated_at)
			 SELECT id, 'n', 'n', id::text, 'a@b.example', 'starter', 'active', 1, now(), now()
			 FROM (SELECT '` + mine.String() + `'::uuid UNION ALL SELECT gen_random_uuid() FROM generate_series(1, 999)) o (id)`,
			`INSERT INTO sonicus.endpoints (id, url, name, organization_id, events, ordering, created_at, updated_at)
			 SELECT gen_random_uuid(), 'http://127.0.0.1:1/', 'n', o.id, '["organization.*"]', CASE n WHEN 1 THEN 'organization' ELSE 'none' END, now(), now()
			 FROM sonicus.organizations o, generate_series(1, 10) n`,
			`ANALYZE sonicus.endpoints`,
		} {
			if _, err := tx.ExecContext(t.Context(), statement); err != nil {
				return err
			}
		}
		ev, err := event.NewOrganizationCreated(postgres.NewID(now), now, event.Organization{ID: mine}, nil)
		if err != nil {
			return err
		}
		steps := explain(t, tx, alone.text, ev.ID, ev.Type, ev.OrganizationID, postgres.JSON(ev.Payload), ev.Time, patterns(ev.Type), prefix(ev.ID))
		if !slices.ContainsFunc(steps, func(n node) bool { return n.Index == "endpoints_match_idx" }) {
			t.Errorf("endpoints_match_idx is not used: %+v", steps)
		}
		for _, n := range steps {
			if strings.Contains(n.Type, "Scan") && (n.Relation == "queue" || n.Relation == "deliveries" || n.Type == "Seq Scan") {
				t.Errorf("reads %s by %s", n.Relation, n.Type)
			}
			if n.Relation == "endpoints" && n.Rows*n.Loops != 10 {
				t.Errorf("%.0f endpoints looked at, want 10", n.Rows*n.Loops)
			}
		}

		var ordered pq.StringArray
		if err := tx.SelectContext(t.Context(), (*[]string)(&ordered), `SELECT id FROM sonicus.endpoints WHERE organization_id = $1 AND ordering = 'organization'`, mine); err != nil {
			return err
		}
		if _, err := tx.ExecContext(t.Context(), `SET LOCAL enable_seqscan = off`); err != nil { // the queue is almost empty here
			return err
		}
		var indexes []string
		for _, n := range explain(t, tx, follow, ev.ID, ev.OrganizationID, ordered) {
			if n.Index != "" {
				indexes = append(indexes, n.Index)
			}
		}
		slices.Sort(indexes)
		if want := []string{"queue_order_idx"}; !slices.Equal(indexes, want) {
			t.Errorf("the row before is found by %v, want %v", indexes, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// However many endpoints and deliveries there are, a claim goes to its lanes by
// both bounds, and loading and settling open the partitions of their ids alone.
func TestClaimLoadAndSettleReadOnlyWhatTheyAreGiven(t *testing.T) {
	t.Parallel()
	for _, endpoints := range []int{1, 2000} {
		t.Run(strconv.Itoa(endpoints), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, now time.Time) error {
				for _, statement := range []string{
					`INSERT INTO sonicus.endpoints (id, url, name, events, created_at, updated_at)
					 SELECT gen_random_uuid(), 'http://127.0.0.1:1/', 'n', '["a.b"]', now(), now() FROM generate_series(1, ` + strconv.Itoa(endpoints) + `)`,
					`CREATE TEMP TABLE published ON COMMIT DROP AS
					 SELECT (left(sonicus.id_floor(now() - n % 2 * interval '1 day')::text, 14) || '7' || substr(gen_random_uuid()::text, 16))::uuid AS id
					 FROM generate_series(1, ` + strconv.Itoa(6000/endpoints) + `) n`,
					`INSERT INTO sonicus.events (id, event_type, payload, created_at, fanout) SELECT id, 'a.b', '{}', now(), 1 FROM published`,
					`INSERT INTO sonicus.deliveries (id, event_id, endpoint_id, event_type, max_attempts, created_at)
					 SELECT sonicus.delivery_id(p.id, e.id, 1), p.id, e.id, 'a.b', 3, now() FROM published p, sonicus.endpoints e`,
					`INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at) SELECT id, endpoint_id, clock_timestamp() FROM sonicus.deliveries`,
					`ANALYZE sonicus.endpoints, sonicus.lanes, sonicus.events, sonicus.deliveries, sonicus.attempts, sonicus.queue`,
				} {
					if _, err := tx.ExecContext(t.Context(), statement); err != nil {
						return err
					}
				}
				var lanes []Lane
				if err := tx.SelectContext(t.Context(), &lanes, `SELECT id AS endpoint_id, false AS retry FROM sonicus.endpoints LIMIT 64`); err != nil {
					return err
				}
				var asks []Ask
				for _, l := range lanes {
					asks = append(asks, Ask{Lane: l, Most: 10})
				}
				ids, retries, since, most := askColumns(asks)
				claimPlan(t, explain(t, tx, claim, ids, retries, since, most, 1, LeaseMargin.Seconds(), paceAhead))
				return partitionPlans(t, tx, now)
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func claimPlan(t *testing.T, steps []node) {
	t.Helper()
	lanes := 0
	for _, n := range steps {
		if n.Relation == "queue" && n.Type == "Seq Scan" {
			t.Error("the claim reads the whole queue")
		}
		if n.Index == "queue_lane_idx" {
			lanes++
			for _, part := range []string{"retry", "endpoint_id", "due_at >=", "due_at <="} {
				if !strings.Contains(n.Cond, part) {
					t.Errorf("%q is not looked up in the index: %s", part, n.Cond)
				}
			}
		}
	}
	if lanes != 1 {
		t.Errorf("queue_lane_idx is used %d times: %+v", lanes, steps)
	}
}

// partitionPlans loads and settles deliveries of today.
func partitionPlans(t *testing.T, tx *sqlx.Tx, now time.Time) error {
	t.Helper()
	var ids []uuid.UUID
	err := tx.SelectContext(t.Context(), &ids, `SELECT id FROM sonicus.deliveries WHERE id >= sonicus.id_floor(now()) ORDER BY id LIMIT 100`)
	if err != nil {
		return err
	}
	low, high := span(ids)
	var c columns
	for _, id := range ids {
		c.add(Result{Claimed: Claimed{DeliveryID: id, Token: 1}, StartedAt: time.Now(), HTTPStatus: 200, Status: Sent})
	}
	today := now.UTC().Format("_20060102")
	for name, steps := range map[string][]node{
		"load":   explain(t, tx, load, pq.Array(ids), low, high),
		"settle": explain(t, tx, settle, c.arguments("test")...),
	} {
		seen := 0
		for _, n := range steps {
			for _, parent := range []string{"events", "deliveries", "attempts"} {
				if day, ok := strings.CutPrefix(n.Relation, parent); ok && day != "" {
					seen++
					if day != today {
						t.Errorf("%s plans to read %s", name, n.Relation)
					}
				}
			}
		}
		if seen < 2 {
			t.Errorf("%s reads %d partitions", name, seen)
		}
	}
	return nil
}
