package access

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// base is in the past, so that the entries' own time is told from the test's.
var base = time.Date(2025, 8, 7, 16, 20, 52, 123456000, time.UTC)

// fill writes entries whose object ids are their names, each a millisecond later.
func fill(t *testing.T, db *sqlx.DB, actors ...string) {
	t.Helper()
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
		for i, actor := range actors {
			ctx := WithActor(t.Context(), Actor{Principal: Principal{Name: actor}})
			change := Change{Action: actor + ".create", ObjectType: actor, ObjectID: uuid.NewSHA1(uuid.Nil, []byte(actor)), After: map[string]int{"n": i}}
			if err := Record(ctx, tx, base.Add(time.Duration(i)*time.Millisecond), change); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTrailAnswersWithWhatMatchesAllFilters(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	fill(t, db, "a", "b", "c", "a", "b")
	text := func(s string) *string { return &s }
	after := func(d time.Duration) *time.Time { at := base.Add(d); return &at }
	long, early := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		Filter
		want string
	}{
		"nothing asked":            {Filter{}, "b a c b a"},
		"actor":                    {Filter{Actor: text("b")}, "b b"},
		"action":                   {Filter{Action: text("c.create")}, "c"},
		"object type":              {Filter{ObjectType: text("a")}, "a a"},
		"object id":                {Filter{ObjectID: text(uuid.NewSHA1(uuid.Nil, []byte("b")).String())}, "b b"},
		"of two, one does not":     {Filter{Actor: text("b"), Action: text("c.create")}, ""},
		"prefix":                   {Filter{Action: text("c")}, ""},
		"pattern":                  {Filter{Action: text("%")}, ""},
		"SQL":                      {Filter{Actor: text("' OR true --")}, ""},
		"since includes":           {Filter{Since: after(3 * time.Millisecond)}, "b a"},
		"until excludes":           {Filter{Until: after(3 * time.Millisecond)}, "c b a"},
		"until within an instant":  {Filter{Until: after(3*time.Millisecond + time.Microsecond)}, "a c b a"},
		"since within an instant":  {Filter{Since: after(3*time.Millisecond + time.Microsecond)}, "b"},
		"between":                  {Filter{Since: after(time.Millisecond), Until: after(2 * time.Millisecond)}, "b"},
		"nothing between":          {Filter{Since: after(2 * time.Millisecond), Until: after(time.Millisecond)}, ""},
		"from the beginning":       {Filter{Since: &early, Until: &long}, "b a c b a"},
		"before there were clocks": {Filter{Until: &early}, ""},
		"after the end":            {Filter{Since: &long}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, err := NewTrail(db).List(t.Context(), tt.Filter, 10, uuid.Nil)
			if err != nil {
				t.Fatal(err)
			}
			var actors []string
			for _, e := range found {
				actors = append(actors, e.Actor)
			}
			if diff := cmp.Diff(tt.want, strings.Join(actors, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEntryTellsWhatWasRecorded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	key, request, object := uuid.New(), uuid.NewString(), uuid.New()
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
		ctx := WithActor(t.Context(), Actor{Principal: Principal{KeyID: key, Name: "boss"}, RequestID: request})
		return Record(ctx, tx, base, Change{Action: "endpoint.delete", ObjectType: "endpoint", ObjectID: object, Before: map[string]string{"name": "x"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := NewTrail(db).List(t.Context(), Filter{}, 1, uuid.Nil)
	if err != nil || len(found) != 1 {
		t.Fatalf("got %+v, %v", found, err)
	}
	want := Entry{
		ID: found[0].ID, At: base, Actor: "boss", KeyID: &key, Action: "endpoint.delete", ObjectType: "endpoint", ObjectID: object.String(),
		RequestID: &request, Before: json.RawMessage(`{"name": "x"}`), After: json.RawMessage("null"),
	}
	if diff := cmp.Diff(want, found[0]); diff != "" {
		t.Error(diff)
	}
}

// The trail only grows: what a question costs must depend on its answer alone.
func TestNoFilterReadsTheWholeTrail(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	fill(t, db, "rare")
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
		for _, statement := range []string{
			`INSERT INTO sonicus.audit_log (id, at, actor, action, object_type, object_id)
			 SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008' || substr(md5(n::text), 1, 15))::uuid, at, 'common', 'common.create', 'common', 'common'
			 FROM (SELECT n, '` + base.Format(time.RFC3339) + `'::timestamptz + n * interval '1 second' AS at FROM generate_series(1, 20000) n) rows`,
			`ANALYZE sonicus.audit_log`,
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
	rare, id, create := "rare", uuid.NewSHA1(uuid.Nil, []byte("rare")).String(), "rare.create"
	until := base.Add(time.Second)
	for name, f := range map[string]Filter{
		"actor": {Actor: &rare}, "action": {Action: &create}, "object type": {ObjectType: &rare}, "object id": {ObjectID: &id}, "until": {Until: &until},
	} {
		var plan string
		if err := db.GetContext(t.Context(), &plan, `EXPLAIN (ANALYZE, FORMAT JSON) `+entries, f.values(51, uuid.Nil)...); err != nil {
			t.Fatal(err)
		}
		var root []struct{ Plan step }
		if err := json.Unmarshal([]byte(plan), &root); err != nil {
			t.Fatal(err)
		}
		if read := root[0].Plan.read(); read > 10 {
			t.Errorf("%s: reads %v rows for one: %s", name, read, plan)
		}
	}
}

// step is a step of a plan, as EXPLAIN shows it.
type step struct {
	Rows    float64 `json:"Actual Rows"`
	Removed float64 `json:"Rows Removed by Filter"`
	Plans   []step
}

// read is how many rows a step and those below it have looked at.
func (s step) read() float64 {
	n := s.Rows + s.Removed
	for _, p := range s.Plans {
		n += p.read()
	}
	return n
}
