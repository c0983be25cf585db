package endpoint_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// insertMany writes n endpoints as they were before there was a limit.
func insertMany(t *testing.T, db *sqlx.DB, n int, organization *uuid.UUID) {
	t.Helper()
	exec(t, db, `INSERT INTO sonicus.endpoints (id, url, name, events, organization_id, created_at, updated_at)
		SELECT gen_random_uuid(), 'https://a.example/hook', 'many', '["*"]', $2, now(), now() FROM generate_series(1, $1)`, n, organization)
}

func TestNoEventConcernsMoreThanAThousandEndpoints(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store, crowded, other := newStore(t, db), insertOrganization(t, db), insertOrganization(t, db)
	insertMany(t, db, 600, nil)
	insertMany(t, db, 399, &crowded)
	of := func(organization *uuid.UUID) endpoint.New {
		n := valid()
		n.OrganizationID = organization
		return n
	}
	last := create(t, store, of(&crowded))
	for name, full := range map[string]*uuid.UUID{"the organization's own": &crowded, "one more for all": nil} {
		_, err := store.Create(t.Context(), of(full))
		if p := problemOf(t, err); p.Kind != "conflict" || p.Code != "endpoint_limit" {
			t.Errorf("%s: %s %s", name, p.Kind, p.Code)
		}
	}
	create(t, store, of(&other)) // has room
	if err := store.Delete(t.Context(), last.ID, nil); err != nil {
		t.Fatal(err)
	}
	create(t, store, of(nil)) // there is room again
}
