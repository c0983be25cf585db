package outbox_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/lib/pq"

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
