package outbox_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestPublishSharesTheFateOfItsTransaction(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{MaxRetries: 3})
	org := organization(t, db)
	var ev event.Envelope

	undone := errors.New("undone")
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, now time.Time) error {
		ev = created(t, org, now)
		if told, err := outbox.Publish(t.Context(), tx, ev); len(told) != 1 || told[0] != hook || err != nil {
			t.Fatalf("published to %s, %v; want %s", told, err, hook)
		}
		return undone
	})
	if !errors.Is(err, undone) {
		t.Fatal(err)
	}
	for _, table := range []string{"events", "deliveries", "queue"} {
		if n := count(t, db, "sonicus."+table); n != 0 {
			t.Errorf("rolled back: %d rows in %s", n, table)
		}
	}

	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := outbox.Publish(t.Context(), tx, ev)
		return err
	})
	if n := count(t, db, `sonicus.deliveries WHERE status = 'pending' AND max_attempts = 4 AND event_type = 'organization.created'
		AND id = sonicus.delivery_id(event_id, endpoint_id, 1)`); n != 1 {
		t.Errorf("committed: %d deliveries as published, want 1", n)
	}
	booksAgree(t, db)
}

func TestPublishAgainWritesNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{})
	endpoint(t, db, target{Ordered: true})
	ev := publish(t, db, organization(t, db), 1)[0]
	exec(t, db, `DELETE FROM sonicus.queue`) // as settling does
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
		told, err := outbox.Publish(t.Context(), tx, ev)
		if len(told) != 0 {
			t.Errorf("published to %s again", told)
		}
		return err
	})
	for table, want := range map[string]int{"events": 1, "deliveries": 2, "queue": 0} {
		if n := count(t, db, "sonicus."+table); n != want {
			t.Errorf("%d rows in %s, want %d", n, table, want)
		}
	}
}

// What the event is about and the event are one statement, and one fate.
func TestChangeIsWrittenWithItsEvent(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{})
	org := organization(t, db)
	rename := outbox.With(`UPDATE sonicus.organizations SET name = $2, display_name = $2 || $3, max_users = $4 WHERE id = $1`)
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
		told, err := rename.Publish(t.Context(), tx, created(t, org, now), org, "it's $1", "!", 7)
		if len(told) != 1 {
			t.Errorf("published to %s", told)
		}
		return err
	})
	if n := count(t, db, `sonicus.organizations WHERE id = $1 AND name = $2 AND display_name = $2 || '!' AND max_users = 7`, org, "it's $1"); n != 1 {
		t.Error("the change was not made as it was asked for")
	}
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, now time.Time) error {
		_, err := rename.Publish(t.Context(), tx, created(t, org, now), org, "", "", 0)
		return err
	})
	if !postgres.Violates(err, "organizations_max_users_check") {
		t.Errorf("got %v, want the violated constraint", err)
	}
	if n := count(t, db, "sonicus.events"); n != 1 {
		t.Errorf("%d events, want only the first", n)
	}
}

func TestPayloadIsStoredByteForByte(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{})
	ev := publish(t, db, organization(t, db), 1)[0]
	var seen postgres.JSON
	if err := db.GetContext(t.Context(), &seen, `SELECT payload FROM sonicus.webhook_deliveries`); err != nil || string(seen) != string(ev.Payload) {
		t.Errorf("view shows %s, %v", seen, err)
	}
}

func TestEventGoesOnlyToMatchingEndpoints(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mine, other := organization(t, db), organization(t, db)
	for name, c := range map[string]struct {
		target
		want int
	}{
		"global":              {target{}, 1},
		"exact type":          {target{Events: `["organization.created"]`}, 1},
		"everything":          {target{Events: `["*"]`}, 1},
		"one of several":      {target{Events: `["user.created", "organization.created"]`}, 1},
		"two patterns, once":  {target{Events: `["*", "organization.*"]`}, 1},
		"same organization":   {target{Organization: uuid.NullUUID{UUID: mine, Valid: true}}, 1},
		"other organization":  {target{Organization: uuid.NullUUID{UUID: other, Valid: true}}, 0},
		"other type":          {target{Events: `["organization.deleted"]`}, 0},
		"other family":        {target{Events: `["user.*"]`}, 0},
		"prefix of the type":  {target{Events: `["organization"]`}, 0},
		"inactive":            {target{Inactive: true}, 0},
		"deleted":             {target{Deleted: true}, 0},
		"paused still queues": {target{Paused: true}, 1},
	} {
		id := endpoint(t, db, c.target)
		publish(t, db, mine, 1)
		if n := count(t, db, `sonicus.queue WHERE endpoint_id = $1`, id); n != c.want {
			t.Errorf("%s: %d deliveries, want %d", name, n, c.want)
		}
		exec(t, db, `UPDATE sonicus.endpoints SET is_active = false`)
	}
}

func TestOperationalEventsGoOnlyWhereTheyAreNamed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mine, other := organization(t, db), organization(t, db)
	publish(t, db, mine, 1)
	publish(t, db, other, 1)
	of := func(org uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: org, Valid: true} }
	for name, c := range map[string]struct {
		target
		mine, global int // deliveries of an event about my endpoint, and about a global one
	}{
		"everything":                     {target{Events: `["*"]`}, 0, 0},
		"business events":                {target{Events: `["organization.*", "organization.created"]`}, 0, 0},
		"the family":                     {target{Events: `["webhook.*"]`}, 1, 1},
		"the type":                       {target{Events: `["webhook.endpoint.disabled"]`}, 1, 1},
		"everything and the family":      {target{Events: `["*", "webhook.*"]`}, 1, 1},
		"my organization":                {target{Events: `["webhook.*"]`, Organization: of(mine)}, 1, 0},
		"my organization, everything":    {target{Events: `["*"]`, Organization: of(mine)}, 0, 0},
		"other organization":             {target{Events: `["webhook.*"]`, Organization: of(other)}, 0, 0},
		"in order, though not of nobody": {target{Events: `["webhook.*"]`, Ordered: true}, 1, 1},
	} {
		id := endpoint(t, db, c.target)
		for about, want := range map[*uuid.UUID]int{&mine: c.mine, nil: c.global} {
			var told []uuid.UUID
			inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
				ev, err := event.NewEndpointDisabled(postgres.NewID(now), now, event.DisabledEndpoint{Endpoint: event.Endpoint{ID: id, OrganizationID: about}})
				if err != nil {
					return err
				}
				told, err = outbox.Publish(t.Context(), tx, ev)
				return err
			})
			if len(told) != want {
				t.Errorf("%s, about %v: %d deliveries, want %d", name, about, len(told), want)
			}
		}
		exec(t, db, `UPDATE sonicus.endpoints SET is_active = false`)
	}
	if n := count(t, db, "sonicus.events WHERE organization_id IS NULL"); n != 9 {
		t.Errorf("%d events about nobody, want 9", n)
	}
	booksAgree(t, db)
}

func TestPartitionsAreMadeAheadAndOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `DROP TABLE sonicus.events_`+day(3)+`, sonicus.attempts_`+day(7))

	reader, err := db.BeginTxx(t.Context(), nil) // a long report must not block the making, nor it the report
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback() }()
	if _, err := reader.ExecContext(t.Context(), `SELECT count(*) FROM sonicus.webhook_deliveries`); err != nil {
		t.Fatal(err)
	}

	var wg sync.WaitGroup
	made := make(chan int, 4)
	for range 4 {
		wg.Go(func() {
			n, err := outbox.EnsurePartitions(t.Context(), db)
			if err != nil {
				t.Error(err)
			}
			made <- n
		})
	}
	wg.Wait()
	if n := <-made + <-made + <-made + <-made; n != 2 {
		t.Errorf("made %d partitions, want the 2 that were missing", n)
	}
	endpoint(t, db, target{})
	org := organization(t, db)
	for n := range 9 {
		at := time.Now().UTC().AddDate(0, 0, n-1)
		inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
			_, err := outbox.Publish(t.Context(), tx, created(t, org, at))
			return err
		})
	}
	err = postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := outbox.Publish(t.Context(), tx, created(t, org, time.Now().AddDate(0, 0, 20)))
		return err
	})
	if !postgres.MissingPartition(err) {
		t.Errorf("publishing into a day without partition: %v, want a missing partition", err)
	}
}

func day(ahead int) string { return time.Now().UTC().AddDate(0, 0, ahead).Format("20060102") }
