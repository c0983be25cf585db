package outbox

import (
	"database/sql/driver"
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
		steps := explain(t, tx, alone.text, ev.ID, ev.Type, ev.OrganizationID, postgres.JSON(ev.Payload), ev.Time, patterns(ev.Type), prefix(ev.ID), ev.Test)
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

// However many endpoints and deliveries there are, and even if the plan was made
// before there were any, a claim goes to its lanes by both bounds, and loading and
// settling open the partitions of their ids alone.
func TestClaimLoadAndSettleReadOnlyWhatTheyAreGiven(t *testing.T) {
	t.Parallel()
	for _, endpoints := range []int{1, 2000} {
		t.Run(strconv.Itoa(endpoints), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			x := newExplainer(t, db)
			x.plan()

			fillForPlans(t, db, endpoints)
			var lanes []Lane
			if err := db.SelectContext(t.Context(), &lanes, `SELECT id AS endpoint_id, false AS retry FROM sonicus.endpoints LIMIT 64`); err != nil {
				t.Fatal(err)
			}
			var asks []Ask
			for _, l := range lanes {
				asks = append(asks, Ask{Lane: l, Most: 10})
			}
			ids, retries, since, most := askColumns(asks)
			claimPlan(t, x.run(claim, ids, retries, since, most, 1, LeaseMargin.Seconds(), paceAhead))
			partitionPlans(t, db, x)
		})
	}
}

// fillForPlans makes endpoints and some 6,000 deliveries, half of them of yesterday.
func fillForPlans(t *testing.T, db *sqlx.DB, endpoints int) {
	t.Helper()
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
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
		} {
			if _, err := tx.ExecContext(t.Context(), statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// explainer is a connection that tells the plans of the statements that functions
// run, as they were executed.
type explainer struct {
	t     *testing.T
	conn  *sqlx.Conn
	plans []node
}

func newExplainer(t *testing.T, db *sqlx.DB) *explainer {
	t.Helper()
	conn, err := db.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	x := &explainer{t: t, conn: conn}
	for _, statement := range []string{
		`LOAD 'auto_explain'`, `SET auto_explain.log_nested_statements = on`, `SET auto_explain.log_analyze = on`, `SET auto_explain.log_format = json`,
		`SET auto_explain.log_min_duration = 0`, `SET client_min_messages = log`,
	} {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Raw(func(c any) error { pq.SetNoticeHandler(c.(driver.Conn), x.note); return nil }); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *explainer) note(notice *pq.Error) {
	_, text, ok := strings.Cut(notice.Message, "plan:\n")
	if !ok {
		return
	}
	var logged struct{ Plan node }
	if err := json.Unmarshal([]byte(text), &logged); err != nil {
		x.t.Errorf("plan not understood: %v: %s", err, text)
		return
	}
	x.plans = append(x.plans, logged.Plan.all()...)
}

// plan has the plans made and kept, with arguments that concern nothing.
func (x *explainer) plan() {
	x.t.Helper()
	id := postgres.NewID(time.Now())
	var late columns
	late.add(Result{Claimed: Claimed{DeliveryID: id, Token: 1}, Status: Sent})
	x.run(claim, pq.Array(late.ids), pq.BoolArray{false}, pq.StringArray{"-infinity"}, pq.Int64Array{1}, 1, 1, 1)
	x.run(load, pq.Array(late.ids), id, id)
	x.run(settle, late.arguments("test")...)
}

// run executes a statement in a transaction that is rolled back, and returns the
// steps of all plans that took part.
func (x *explainer) run(statement string, args ...any) []node {
	x.t.Helper()
	tx, err := x.conn.BeginTxx(x.t.Context(), nil)
	if err != nil {
		x.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	x.plans = nil
	if _, err := tx.ExecContext(x.t.Context(), statement, args...); err != nil {
		x.t.Fatal(err)
	}
	if len(x.plans) == 0 {
		x.t.Fatal("no plan was told")
	}
	return x.plans
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
func partitionPlans(t *testing.T, db *sqlx.DB, x *explainer) {
	t.Helper()
	var ids []uuid.UUID
	if err := db.SelectContext(t.Context(), &ids, `SELECT id FROM sonicus.deliveries WHERE id >= sonicus.id_floor(date_trunc('day', now(), 'UTC')) ORDER BY id LIMIT 100`); err != nil {
		t.Fatal(err)
	}
	low, high := span(ids)
	var c columns
	for _, id := range ids {
		c.add(Result{Claimed: Claimed{DeliveryID: id, Token: 1}, StartedAt: time.Now(), HTTPStatus: 200, Status: Sent})
	}
	today := time.Unix(0, 0).AddDate(0, 0, int(day(ids[0]))).UTC().Format("_20060102")
	for name, steps := range map[string][]node{
		"load":   x.run(load, pq.Array(ids), low, high),
		"settle": x.run(settle, c.arguments("test")...),
	} {
		seen := 0
		for _, n := range steps {
			if n.Type == "Seq Scan" {
				t.Errorf("%s reads all of %s", name, n.Relation)
			}
			for _, parent := range []string{"events", "deliveries", "attempts"} {
				day, ok := strings.CutPrefix(n.Relation, parent)
				if !ok || day == "" || n.Type == "ModifyTable" { // which lists all partitions that it could change
					continue
				}
				seen++
				if day != today {
					t.Errorf("%s reads %s", name, n.Relation)
				}
			}
		}
		if seen < 2 {
			t.Errorf("%s reads %d partitions", name, seen)
		}
	}
}
