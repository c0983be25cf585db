package outbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// Why an endpoint did not get an event is what it was then, not what it is now.
func TestEventRecordsWhomItPassedOver(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mine, other := organization(t, db), organization(t, db)
	of := func(org uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: org, Valid: true} }

	everybody := publish(t, db, other, 1)[0]
	endpoint(t, db, target{})
	endpoint(t, db, target{Paused: true})
	endpoint(t, db, target{Organization: of(other), Inactive: true})
	endpoint(t, db, target{Deleted: true, Inactive: true})
	off := endpoint(t, db, target{Organization: of(mine), Inactive: true, Events: `["user.*"]`})
	deaf := endpoint(t, db, target{Events: `["user.*", "webhook.*"]`})
	some := publish(t, db, mine, 1)[0]
	exec(t, db, `UPDATE sonicus.endpoints SET is_active = true, events = '["*"]'`)

	for id, want := range map[uuid.UUID]struct {
		inactive, eventType []string
		fanout              int
	}{everybody.ID: {nil, nil, 0}, some.ID: {[]string{off.String()}, []string{deaf.String()}, 2}} {
		var got struct {
			Inactive  pq.StringArray `db:"skipped_inactive"`
			EventType pq.StringArray `db:"skipped_event_type"`
			Filter    *string        `db:"skipped_filter"`
			Fanout    int            `db:"fanout"`
		}
		if err := db.GetContext(t.Context(), &got, `SELECT skipped_inactive, skipped_event_type, skipped_filter, fanout FROM sonicus.events WHERE id = $1`, id); err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal([]string(got.Inactive), want.inactive) || !cmp.Equal([]string(got.EventType), want.eventType) || got.Filter != nil || got.Fanout != want.fanout {
			t.Errorf("recorded %+v, want %+v", got, want)
		}
	}
	booksAgree(t, db)
}

// A test is for everyone who would get the type at all, and records why the others do not.
func TestTestsPassFiltersAndOrganizations(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mine := organization(t, db)
	own := endpoint(t, db, target{Organization: uuid.NullUUID{UUID: mine, Valid: true}, Ordered: true})
	picky := endpoint(t, db, target{})
	exec(t, db, `UPDATE sonicus.endpoints SET filter = '{}', filter_clauses = '{filter.x}', filter_paths = '{"$.nothing == 1"}' WHERE id = $1`, picky)
	deaf := endpoint(t, db, target{Events: `["webhook.*"]`})
	endpoint(t, db, target{Deleted: true})
	var reached []uuid.UUID
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
		ev, err := event.NewOrganizationTest(postgres.NewID(now), now)
		if err != nil {
			return err
		}
		reached, err = outbox.Publish(t.Context(), tx, ev)
		return err
	})
	if len(reached) != 2 || !slices.Contains(reached, own) || !slices.Contains(reached, picky) {
		t.Errorf("reached %v, want %v and %v", reached, own, picky)
	}
	if n := count(t, db, `sonicus.events WHERE test AND fanout = 2 AND skipped_event_type = ARRAY[$1::uuid] AND skipped_filter IS NULL AND skipped_inactive IS NULL`, deaf); n != 1 {
		t.Error("not recorded as it was")
	}
	claimed := claim(t, db, 10)
	if len(claimed) != 2 || !claimed[0].Test || !claimed[1].Test {
		t.Errorf("claimed %+v", claimed)
	}
	if what := publish(t, db, mine, 1)[0]; count(t, db, `sonicus.events WHERE id = $1 AND NOT test AND fanout = 1 AND skipped_filter IS NOT NULL`, what.ID) != 1 {
		t.Error("what is no test passes the filter, too")
	}
	booksAgree(t, db)
}

// filtered stores an endpoint whose filter has one clause.
func filtered(t *testing.T, db *sqlx.DB, path string) uuid.UUID {
	t.Helper()
	id := endpoint(t, db, target{})
	exec(t, db, `UPDATE sonicus.endpoints SET filter = '{}', filter_clauses = '{filter.or}', filter_paths = ARRAY[$2::text::jsonpath] WHERE id = $1`, id, path)
	return id
}

func TestFilterDecidesWhenTheEventIsPublished(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	through := filtered(t, db, `$.data.organization.name == "R&D <Größe>"`)
	back := filtered(t, db, `$.data.organization.name == "other"`)
	absurd := filtered(t, db, `$.data.organization.name.double() / 0 > $[*].keyvalue().x`)
	both := filtered(t, db, `$.event_type == "x"`)
	exec(t, db, `UPDATE sonicus.endpoints SET events = '["user.*"]' WHERE id = $1`, both)
	ev := publish(t, db, organization(t, db), 1)[0]
	exec(t, db, `UPDATE sonicus.endpoints SET filter = NULL, filter_clauses = NULL, filter_paths = NULL`)

	if n := count(t, db, `sonicus.deliveries WHERE endpoint_id = $1`, through); n != 1 {
		t.Errorf("%d deliveries where the filter is met", n)
	}
	if n := count(t, db, `sonicus.events WHERE id = $1 AND fanout = 1 AND skipped_event_type = ARRAY[$2::uuid] AND skipped_inactive IS NULL
		AND skipped_filter::jsonb = jsonb_build_object($3::text, 'filter.or', $4::text, 'filter.or')`, ev.ID, both, back, absurd); n != 1 {
		t.Error("who was passed over is not recorded as it was")
	}
	booksAgree(t, db)
}

// json holds what jsonb does not: the event is published all the same.
func TestPayloadThatNoFilterCanReadIsPublished(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{})
	blind := filtered(t, db, `exists($)`)
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
		ev := created(t, organization(t, db), now)
		ev.Payload = []byte(`{"data":"\u0000"}`)
		_, err := outbox.Publish(t.Context(), tx, ev)
		return err
	})
	if n := count(t, db, `sonicus.events WHERE fanout = 1 AND skipped_filter ->> $1::text = 'filter.or'`, blind); n != 1 {
		t.Error("the event was not published, or not recorded")
	}
	booksAgree(t, db)
}
