package outbox_test

import (
	"testing"

	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// An upgrade migrates first, and dispatchers of the version before go on until it is
// their turn. They read all that these functions return into fields of their own, and
// fail at a column that they do not know.
func TestDispatchersOfBeforeCanGoOnAfterMigrations(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for function, want := range map[string]string{
		"load(uuid[], uuid, uuid)": "TABLE(delivery_id uuid, event_id uuid, event_type text, attempt_count integer, max_attempts integer, payload json, event_time timestamp with time zone)",
		"settle(uuid[], bigint[], integer[], text[], text[], bigint[], double precision[], real[], integer[], text[], text[], json[], text[], boolean[], boolean[], text, uuid, uuid)": "TABLE(late_delivery_id uuid)",
	} {
		var got string
		err := db.GetContext(t.Context(), &got, `SELECT coalesce(pg_get_function_result(to_regprocedure('sonicus.' || $1)), 'nothing')`, function)
		if err != nil || got != want {
			t.Errorf("%s returns %s, want %s: %v", function, got, want, err)
		}
	}
}
