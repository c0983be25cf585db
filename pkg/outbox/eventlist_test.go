package outbox

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// readEvents follows the list to its end and returns the ids, and how many pages there were.
func readEvents(t *testing.T, db *sqlx.DB, f EventFilter, limit, look int) (ids []uuid.UUID, pages int) {
	t.Helper()
	var before uuid.UUID
	for {
		found, edge, err := NewEvents(db).list(t.Context(), f, limit, before, look)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range found {
			ids = append(ids, e.ID)
		}
		if pages++; edge == uuid.Nil {
			return ids, pages
		}
		before = edge
	}
}

// However little one page looks at, nothing is shown twice or passed over, and what is
// rare is found at the end of empty pages.
func TestListOfEventsGoesOnWhereItFoundNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	fillForPlans(t, db, 20)
	var want []uuid.UUID
	if err := db.SelectContext(t.Context(), &want, `SELECT id FROM sonicus.events ORDER BY id DESC`); err != nil {
		t.Fatal(err)
	}
	oldest := want[len(want)-1]
	if _, err := db.ExecContext(t.Context(), `UPDATE sonicus.events SET event_type = 'user.created' WHERE id = $1`, oldest); err != nil {
		t.Fatal(err)
	}
	for _, page := range []struct{ limit, look int }{{50, 25_000}, {7, 20}, {20, 20}, {30, 20}} {
		got, pages := readEvents(t, db, EventFilter{}, page.limit, page.look)
		if diff := cmp.Diff(want, got); diff != "" || pages < 2 {
			t.Errorf("%+v: %d pages, %d events of %d", page, pages, len(got), len(want))
		}
	}
	rare := "user.created"
	got, pages := readEvents(t, db, EventFilter{EventType: &rare}, 50, 40)
	if !slices.Equal(got, []uuid.UUID{oldest}) || pages < len(want)/40 {
		t.Errorf("%d pages: %v", pages, got)
	}
}

// Reading and sorting whole days for one page would cost as much as they hold.
func TestListOfEventsReadsInOrderAndNoFurther(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	fillForPlans(t, db, 20)
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
		if _, err := tx.ExecContext(t.Context(), inOrder); err != nil {
			return err
		}
		for _, n := range explain(t, tx, eventPage, uuid.Max, uuid.Nil, 100, 10, "no.type", nil) {
			if n.Type == "Sort" || n.Type == "Seq Scan" || n.Rows > 100 {
				t.Errorf("%+v", n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
