package outbox

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// fillForLists makes 6,000 deliveries to 20 endpoints, half of them of yesterday. All
// are sent but the oldest, which has failed, and the newest ten, which wait.
func fillForLists(t *testing.T, db *sqlx.DB) {
	t.Helper()
	fillForPlans(t, db, 20)
	for _, statement := range []string{
		`UPDATE sonicus.deliveries SET status = 'sent', delivered_at = now(), http_status_code = 204`,
		`UPDATE sonicus.deliveries SET status = 'failed', delivered_at = NULL, failure_reason = 'exhausted', http_status_code = 503
		 WHERE id = (SELECT id FROM sonicus.deliveries ORDER BY id LIMIT 1)`,
		`UPDATE sonicus.deliveries SET status = 'pending', delivered_at = NULL WHERE id IN (SELECT id FROM sonicus.deliveries ORDER BY id DESC LIMIT 10)`,
		`DELETE FROM sonicus.queue q USING sonicus.deliveries d WHERE d.id = q.delivery_id AND d.status <> 'pending'`,
		`ANALYZE sonicus.deliveries`, `ANALYZE sonicus.events`, `ANALYZE sonicus.queue`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll follows a list to its end and returns the ids, and how many pages there were.
func readAll(t *testing.T, db *sqlx.DB, f Filter, limit, look int) (ids []uuid.UUID, pages int) {
	t.Helper()
	var before uuid.UUID
	for {
		found, edge, err := NewDeliveries(db, nil).list(t.Context(), f, limit, before, look)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			ids = append(ids, d.ID)
		}
		if pages++; edge == uuid.Nil {
			return ids, pages
		}
		before = edge
	}
}

// What is rare is found at the end of many empty pages, and nothing is shown twice or
// passed over, however little one page looks at.
func TestListGoesOnWhereItFoundNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	fillForLists(t, db)
	var all []uuid.UUID
	if err := db.SelectContext(t.Context(), &all, `SELECT id FROM sonicus.deliveries ORDER BY id DESC`); err != nil {
		t.Fatal(err)
	}
	var endpoint uuid.UUID
	if err := db.GetContext(t.Context(), &endpoint, `SELECT id FROM sonicus.endpoints LIMIT 1`); err != nil {
		t.Fatal(err)
	}
	var own []uuid.UUID
	if err := db.SelectContext(t.Context(), &own, `SELECT id FROM sonicus.deliveries WHERE endpoint_id = $1 ORDER BY id DESC`, endpoint); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		filter Filter
		want   []uuid.UUID
		pages  int // with 1,000 looked at and 700 shown for each
	}{
		"everything":     {Filter{}, all, 9},
		"a rare failure": {Filter{Statuses: []Status{Failed}}, all[len(all)-1:], 7}, // the last sees that the end is reached
		"nothing at all": {Filter{HTTPStatus: new(500)}, nil, 7},
		"what waits":     {Filter{Statuses: []Status{Retrying, Pending}}, all[:10], 1},
		"an endpoint":    {Filter{EndpointID: &endpoint}, own, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids, pages := readAll(t, db, tt.filter, 700, 1000)
			if !slices.Equal(ids, tt.want) {
				t.Errorf("%d deliveries, want %d", len(ids), len(tt.want))
			}
			if pages != tt.pages {
				t.Errorf("%d pages, want %d", pages, tt.pages)
			}
		})
	}
}

// However rare it is what a page is asked for, it reads no more deliveries than it may
// look at, and finds them by an index.
func TestPageOfAListReadsNoMoreThanItMayLookAt(t *testing.T) {
	t.Parallel()
	const look = 200
	db := pgtest.New(t)
	fillForLists(t, db)
	var one struct {
		ID         uuid.UUID `db:"id"`
		EventID    uuid.UUID `db:"event_id"`
		EndpointID uuid.UUID `db:"endpoint_id"`
	}
	if err := db.GetContext(t.Context(), &one, `SELECT id, event_id, endpoint_id FROM sonicus.deliveries WHERE status = 'failed'`); err != nil {
		t.Fatal(err)
	}
	nobody := uuid.New()
	for name, tt := range map[string]struct {
		filter Filter
		index  string // that leads to them, as far as its name ends
	}{
		"no filter":                   {Filter{}, "_pkey"},
		"endpoint":                    {Filter{EndpointID: &one.EndpointID}, "_endpoint_id_id_idx"},
		"endpoint without deliveries": {Filter{EndpointID: &nobody}, "_endpoint_id_id_idx"},
		"endpoint and status":         {Filter{EndpointID: &one.EndpointID, Statuses: []Status{Failed}}, "_endpoint_id_id_idx"},
		"event":                       {Filter{EventID: &one.EventID}, "_pkey"},
		"organization":                {Filter{OrganizationID: &nobody}, "_pkey"},
		"test":                        {Filter{Test: new(true)}, "_pkey"},
		"event type":                  {Filter{EventType: new("none")}, "_pkey"},
		"rare status":                 {Filter{Statuses: []Status{Failed}}, "_pkey"},
		"status of what waits":        {Filter{Statuses: []Status{Retrying}}, "queue_pkey"},
		"failure reason":              {Filter{FailureReason: new("gone")}, "_pkey"},
		"answer":                      {Filter{HTTPStatus: new(500)}, "_pkey"},
		"times":                       {Filter{Since: new(time.Now().Add(-48 * time.Hour)), Until: new(time.Now().Add(time.Hour)), Statuses: []Status{Failed}}, "_pkey"},
	} {
		t.Run(name, func(t *testing.T) {
			err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
				if _, err := tx.ExecContext(t.Context(), inOrder); err != nil {
					return err
				}
				args := tt.filter.arguments(50, uuid.Nil, look)
				readsLittle(t, explain(t, tx, tt.filter.source().page(), args...), look, tt.index)
				readsLittle(t, explain(t, tx, tt.filter.source().edge(), args[:sourceArguments]...), look, tt.index)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func readsLittle(t *testing.T, steps []node, look float64, index string) {
	t.Helper()
	read, led := 0.0, false
	for _, n := range steps {
		if !strings.HasPrefix(n.Relation, "deliveries") && n.Relation != "queue" {
			continue
		}
		if n.Type == "Seq Scan" && n.Relation != "queue" && n.Loops > 0 {
			t.Errorf("reads all of %s", n.Relation)
		}
		if strings.HasPrefix(n.Relation, "deliveries") {
			read += n.Rows * n.Loops
		}
		led = led || strings.HasSuffix(n.Index, index) || n.Relation == "queue" && n.Type == "Seq Scan" // of ten rows
	}
	if read > look {
		t.Errorf("reads %.0f deliveries, which is more than %.0f", read, look)
	}
	if !led {
		t.Errorf("not by %s: %+v", index, steps)
	}
}
