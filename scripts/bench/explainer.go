package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// statements are those of a batch, in the order in which they are run.
var statements = [3]string{"claim", "load", "settle"}

// The statements are called as pkg/outbox calls them, except that Postgres fills
// in what is the same for every delivery.
const (
	claimCall = `SELECT endpoint_id, delivery_id, due_at
FROM (SELECT ARRAY[cardinality($1::uuid[])]) a (n),
     sonicus.claim($1::uuid[], array_fill(false, n), $2::timestamptz[], array_fill($3::integer, n), $4::bigint, 15, 0.1)
WHERE delivery_id IS NOT NULL`

	loadCall = `SELECT delivery_id FROM sonicus.loaded($1::uuid[], $2::uuid, $3::uuid)`

	settleCall = `SELECT late_delivery_id
FROM (SELECT ARRAY[cardinality($1::uuid[])]) a (n),
     sonicus.settle($1::uuid[], array_fill($4::bigint, n), array_fill(1, n), array_fill('sent'::text, n), array_fill(''::text, n), array_fill(0::bigint, n),
                    array_fill(2::float8, n), array_fill(1.5::real, n), array_fill(200, n), array_fill(''::text, n), array_fill(''::text, n),
                    array_fill('{"Content-Type":"text/plain; charset=utf-8"}'::json, n), array_fill('ok'::text, n), array_fill(false, n),
                    array_fill(false, n), array_fill(1::bigint, n), array_fill('127.0.0.1'::text, n), array_fill(0::real, n), array_fill(0::real, n),
                    array_fill(0::real, n), array_fill(1::real, n), array_fill(0::bigint, n), 'bench/1', $2::uuid, $3::uuid)`

	// wholeDays bounds ids by the days of their partitions.
	wholeDays = `SELECT sonicus.id_floor(date_trunc('day', $1::timestamptz, 'UTC')) AS low,
       sonicus.id_floor(date_trunc('day', $2::timestamptz, 'UTC') + interval '24 hours') AS high`
)

const (
	batchSize  = inFlight // deliveries
	batchLanes = 64       // the most that a dispatcher asks at once
	warmUps    = 3        // batches that are not looked at: plans are made, caches filled
	batches    = 11
)

// explainer is a connection that tells the plans of the statements that it runs,
// and of those within functions, as they were executed.
type explainer struct {
	db        *postgres.DB
	told      []string
	endpoints []uuid.UUID             // that have something due
	since     map[uuid.UUID]time.Time // as a dispatcher, it asks a lane for nothing that is due earlier than what it had
	runs      [][len(statements)]plan
}

func (w *world) newExplainer(ctx context.Context, endpoints []uuid.UUID) (*explainer, error) {
	x := &explainer{endpoints: endpoints, since: make(map[uuid.UUID]time.Time)}
	var err error
	if x.db, err = postgres.Connect(ctx, w.url, postgres.Options{Application: "bench", MaxOpen: 1, Patient: true, Notice: x.note}); err != nil {
		return nil, err
	}
	w.later(x.db.Close)
	for _, statement := range []string{
		`LOAD 'auto_explain'`, `SET auto_explain.log_nested_statements = on`, `SET auto_explain.log_analyze = on`, `SET auto_explain.log_buffers = on`,
		`SET auto_explain.log_min_duration = 0`, `SET client_min_messages = log`,
	} {
		if _, err := x.db.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("have plans told: %w", err)
		}
	}
	return x, nil
}

func (x *explainer) note(message string) {
	if strings.HasPrefix(message, "duration: ") {
		x.told = append(x.told, message)
	}
}

// run executes a statement that calls a function, and returns its plan.
func (x *explainer) run(ctx context.Context, into any, statement string, args ...any) (plan, error) {
	x.told = nil
	if err := x.db.SelectContext(ctx, into, statement, args...); err != nil {
		return plan{}, err
	}
	return parsePlan(x.told)
}

// summary is what the runs say of each statement.
func (x *explainer) summary(s situation) (all []explained) {
	for i, statement := range statements {
		plans := make([]plan, 0, batches)
		for _, run := range x.runs[warmUps:] {
			plans = append(plans, run[i])
		}
		slices.SortFunc(plans, func(a, b plan) int { return cmp.Compare(a.ms, b.ms) })
		all = append(all, explained{s, statement, plans[len(plans)/2], plans[0].ms})
	}
	return all
}

// batch claims as much as a dispatcher has in flight, loads and settles it.
func (x *explainer) batch(ctx context.Context) error {
	var plans [len(statements)]plan
	token := rand.Int64()
	claimed, of, err := x.claim(ctx, token)
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	plans[0] = of
	ids := make([]uuid.UUID, len(claimed))
	for i, c := range claimed {
		ids[i] = c.DeliveryID
		x.since[c.EndpointID] = c.DueAt // the rows of a lane come in this order
	}
	var days struct{ Low, High uuid.UUID }
	if err := x.db.GetContext(ctx, &days, wholeDays, slices.MinFunc(claimed, byDue).DueAt, slices.MaxFunc(claimed, byDue).DueAt); err != nil {
		return fmt.Errorf("bound the ids: %w", err)
	}
	var loaded, late []uuid.UUID
	if plans[1], err = x.run(ctx, &loaded, loadCall, array(ids), days.Low, days.High); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if plans[2], err = x.run(ctx, &late, settleCall, array(ids), days.Low, days.High, token); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	if len(loaded) != batchSize || len(late) != 0 {
		return fmt.Errorf("of %d deliveries %d were loaded, and %d results were late", batchSize, len(loaded), len(late))
	}
	x.runs = append(x.runs, plans)
	return nil
}

type claimedRow struct {
	EndpointID uuid.UUID `db:"endpoint_id"`
	DeliveryID uuid.UUID `db:"delivery_id"`
	DueAt      time.Time `db:"due_at"`
}

func byDue(a, b claimedRow) int { return a.DueAt.Compare(b.DueAt) }

// claim takes from the next lanes, from each alike. It fails if it gets less than a
// batch: plans of different sizes cannot be compared.
func (x *explainer) claim(ctx context.Context, token int64) (claimed []claimedRow, of plan, err error) {
	n := min(batchLanes, len(x.endpoints))
	first := len(x.runs) * n % (len(x.endpoints) - n + 1)
	lanes := x.endpoints[first : first+n]
	if of, err = x.run(ctx, &claimed, claimCall, array(lanes), x.bounds(lanes), batchSize/n, token); err != nil {
		return nil, plan{}, err
	}
	if len(claimed) != batchSize {
		return nil, plan{}, fmt.Errorf("%d deliveries, want %d", len(claimed), batchSize)
	}
	return claimed, of, nil
}

// bounds is a Postgres array of when to look from in each lane.
func (x *explainer) bounds(lanes []uuid.UUID) string {
	texts := make([]string, len(lanes))
	for i, lane := range lanes {
		texts[i] = "-infinity"
		if at, known := x.since[lane]; known {
			texts[i] = `"` + at.Format(timeLayout) + `"`
		}
	}
	return "{" + strings.Join(texts, ",") + "}"
}
