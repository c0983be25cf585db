package outbox

import (
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

// Statistics cost the same with any number of deliveries: neither they nor their
// attempts are looked at, but rows of the window and of the endpoints asked for.
func TestStatisticsReadOnlyTheRowsOfTheirWindow(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, now time.Time) error {
		ids := fillStatistics(t, tx)
		from := now.Add(-24 * time.Hour).Truncate(time.Hour)
		for name, asked := range map[string][]uuid.UUID{"one": ids[:1], "all together": {everyone}, "a page": ids[:50]} {
			read := 0.0
			for _, n := range explain(t, tx, within, pq.Array(asked), from) {
				if n.Relation != "" && n.Relation != "delivery_stats" || n.Type == "Seq Scan" {
					t.Errorf("%s: reads %s by %s", name, n.Relation, n.Type)
				}
				if n.Index != "" && (n.Index != "delivery_stats_pkey" || !strings.Contains(n.Cond, "endpoint_id") || !strings.Contains(n.Cond, "starts_at")) {
					t.Errorf("%s: looks up %s in %s", name, n.Cond, n.Index)
				}
				if n.Relation == "delivery_stats" {
					read += n.Rows * n.Loops
				}
			}
			if want := float64(25 * len(asked)); read != want {
				t.Errorf("%s: %.0f rows read, want %.0f", name, read, want)
			}
		}
		checkBacklogPlans(t, tx, ids)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fillStatistics makes a week of statistics, and a queue, of 500 endpoints.
func fillStatistics(t *testing.T, tx *sqlx.Tx) (ids []uuid.UUID) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO sonicus.endpoints (id, url, name, events, created_at, updated_at)
		 SELECT gen_random_uuid(), 'http://127.0.0.1:1/', 'n', '["a.b"]', now(), now() FROM generate_series(1, 500)`,
		`INSERT INTO sonicus.delivery_stats (endpoint_id, starts_at, minutes, status, deliveries, attempts, possible_duplicates, response_times)
		 SELECT e.id, date_trunc('hour', now(), 'UTC') - n * interval '1 hour', 60, 'sent', 1, 1, 0, '{1}'
		 FROM (SELECT id FROM sonicus.endpoints UNION ALL SELECT '00000000-0000-0000-0000-000000000000') e, generate_series(0, 168) n`,
		`INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at) SELECT gen_random_uuid(), e.id, now() - n * interval '1 ms' FROM sonicus.endpoints e, generate_series(1, 100) n`,
		`ANALYZE sonicus.endpoints, sonicus.delivery_stats, sonicus.queue`,
	} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.SelectContext(t.Context(), &ids, `SELECT id FROM sonicus.endpoints`); err != nil {
		t.Fatal(err)
	}
	return ids
}

// checkBacklogPlans: a backlog costs what is counted of it, and the oldest due delivery one
// look into each lane.
func checkBacklogPlans(t *testing.T, tx *sqlx.Tx, ids []uuid.UUID) {
	t.Helper()
	for _, n := range explain(t, tx, backlogs, pq.Array(ids[:3]), 50) {
		if n.Relation == "queue" && (n.Index != "queue_lane_idx" || !strings.Contains(n.Cond, "endpoint_id") || n.Rows > 50) {
			t.Errorf("of some: %+v", n)
		}
	}
	var rows []float64
	for _, n := range explain(t, tx, whole, 0, 50) {
		if n.Relation == "queue" {
			rows = append(rows, n.Rows*n.Loops)
		}
		if n.Relation == "deliveries" || n.Relation == "attempts" {
			t.Errorf("of all: reads %s", n.Relation)
		}
	}
	if slices.Max(rows) > 500 {
		t.Errorf("of all: reads %v rows of the queue", rows)
	}
}
