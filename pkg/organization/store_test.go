package organization_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

func TestCreateReachesTheEndpointsThatMatch(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	other := example()
	other.Domain = "other.example"
	others := f.create(t, other).ID
	foreign := hook()
	foreign.OrganizationID = &others
	want := map[uuid.UUID]bool{f.register(t, hook()): true, f.register(t, hook("organization.*")): true, f.register(t, hook("*")): true, f.register(t, hook("*", "organization.*")): true}
	f.register(t, foreign)
	for _, change := range []string{"is_active = false", "deleted_at = now()", `events = '["user.created"]'`, `events = '["organization.updated", "user.*"]'`} {
		f.exec(t, `UPDATE sonicus.endpoints SET `+change+` WHERE id = $1`, f.register(t, hook()))
	}
	paused := f.register(t, hook())
	f.exec(t, `UPDATE sonicus.endpoints SET paused_at = now() WHERE id = $1`, paused)
	want[paused] = true // nothing is sent, but nothing is lost either
	o := f.create(t, example())
	if diff := cmp.Diff(want, f.receivers(t, o.ID)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]map[uuid.UUID]bool{want}, f.hinted()); diff != "" { // nothing to tell of the first one
		t.Error(diff)
	}
}

func TestOrganizationWithoutEndpointsStillHasItsEvent(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.create(t, example())
	if diff := cmp.Diff(books{Organizations: 1, Events: 1}, f.books(t)); diff != "" {
		t.Error(diff)
	}
}

func TestMaxAttemptsCountsTheFirstOne(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	n := hook()
	n.MaxRetries = ptr(3)
	f.register(t, n)
	f.create(t, example())
	var attempts int
	if err := f.db.GetContext(t.Context(), &attempts, `SELECT max_attempts FROM sonicus.webhook_deliveries`); err != nil || attempts != 4 {
		t.Errorf("%d, %v", attempts, err)
	}
}

func TestSameDomainAtOnceGivesExactlyOneOrganization(t *testing.T) {
	t.Parallel()
	const callers = 20
	f := setUp(t)
	f.register(t, hook())
	errs := make([]error, callers)
	var wait sync.WaitGroup
	for i := range callers {
		n := example()
		if i%2 == 1 {
			n.Domain = "EXAMPLE.com"
		}
		wait.Go(func() { _, errs[i] = f.organizations.Create(t.Context(), n) })
	}
	wait.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
			continue
		}
		p := problemOf(t, err)
		if p.Kind != problem.KindConflict || p.Code != "domain_taken" || len(p.Fields) != 1 || p.Fields[0].Field != "domain" {
			t.Errorf("got %v", err)
		}
	}
	if diff := cmp.Diff(books{Organizations: 1, Endpoints: 1, Events: 1, Deliveries: 1, Queue: 1}, f.books(t)); diff != "" || made != 1 {
		t.Errorf("%d made; %s", made, diff)
	}
	if f.hints.Load() != 1 {
		t.Errorf("%d hints", f.hints.Load())
	}
}

func TestFailureAtAnyStepLeavesNothing(t *testing.T) {
	t.Parallel()
	const refuse = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'refused by the test'; END$$;`
	for name, fault := range map[string]string{
		"organization": `ALTER TABLE sonicus.organizations ADD CONSTRAINT broken CHECK (false) NOT VALID`,
		"user":         `ALTER TABLE sonicus.users ADD CONSTRAINT broken CHECK (false) NOT VALID`,
		"endpoint":     `ALTER TABLE sonicus.endpoints ADD CONSTRAINT broken CHECK (name <> 'own') NOT VALID`,
		"event":        `ALTER TABLE sonicus.events ADD CONSTRAINT broken CHECK (false) NOT VALID`,
		"delivery":     `ALTER TABLE sonicus.deliveries ADD CONSTRAINT broken CHECK (false) NOT VALID`,
		"queue":        `ALTER TABLE sonicus.queue ADD CONSTRAINT broken CHECK (false) NOT VALID`,
		"trail":        `ALTER TABLE sonicus.audit_log ADD CONSTRAINT broken CHECK (false) NOT VALID`,
		"commit":       refuse + `CREATE CONSTRAINT TRIGGER late AFTER INSERT ON sonicus.organizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			f.register(t, hook())
			for _, statement := range strings.SplitAfter(fault, "$$;") {
				f.exec(t, statement)
			}
			own := hook()
			own.Name = "own"
			_, err := f.organizations.Onboard(t.Context(), onboarding(own))
			if err == nil {
				t.Fatal("succeeded")
			}
			if p, ok := errors.AsType[*problem.Error](err); ok {
				t.Errorf("an internal fault was shown to the caller: %v", p)
			}
			if diff := cmp.Diff(books{Endpoints: 1}, f.books(t)); diff != "" || f.hints.Load() != 0 {
				t.Errorf("%d hints; %s", f.hints.Load(), diff)
			}
		})
	}
}

func TestConnectionKilledInMidTransactionLeavesNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.register(t, hook())
	lock, err := f.db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	// The creation has written the organization and its event when it has to wait.
	for _, statement := range []string{
		`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END$$`,
		`CREATE TRIGGER wait AFTER INSERT ON sonicus.queue EXECUTE FUNCTION wait()`,
	} {
		f.exec(t, statement)
	}
	if _, err := lock.ExecContext(t.Context(), `SELECT pg_advisory_xact_lock(1)`); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { _, err := f.organizations.Create(t.Context(), example()); failed <- err }()
	f.killBlocked(t)
	if p := problemOf(t, <-failed); p.Kind != problem.KindUnavailable || p.Code != "unavailable" || p.RetryAfter <= 0 {
		t.Errorf("got %+v", p)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(books{Endpoints: 1}, f.books(t)); diff != "" {
		t.Error(diff)
	}
	f.create(t, example()) // the pool has recovered
}

// killBlocked ends the connection that waits for a lock in this database.
func (f *fixture) killBlocked(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		var killed int
		err := f.db.GetContext(t.Context(), &killed, `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`)
		if err != nil {
			t.Fatal(err)
		}
		if killed > 0 {
			return
		}
	}
	t.Fatal("nothing waited for the lock")
}

func TestCallerWhoGoesAwayLeavesNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.organizations.Create(ctx, example()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(books{}, f.books(t)); diff != "" {
		t.Error(diff)
	}
}

func TestMissingPartitionIsMadeOnTheWay(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.register(t, hook())
	var parts []string
	if err := f.db.SelectContext(t.Context(), &parts, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'sonicus.events'::regclass`); err != nil || len(parts) == 0 {
		t.Fatal(parts, err)
	}
	for _, p := range parts {
		f.exec(t, `DROP TABLE `+p)
	}
	done, err := f.organizations.Onboard(t.Context(), onboarding(hook()))
	if err != nil || len(done.Endpoints) != 1 {
		t.Fatalf("%d endpoints, %v", len(done.Endpoints), err)
	}
	if diff := cmp.Diff(books{Organizations: 1, Users: 1, Endpoints: 2, Events: 1, Deliveries: 2, Queue: 2}, f.books(t)); diff != "" {
		t.Error(diff)
	}
	if _, err := f.organizations.Get(t.Context(), done.Organization.ID); err != nil || f.hints.Load() != 1 {
		t.Errorf("%d hints, %v", f.hints.Load(), err)
	}
}

func TestUnknownOrganizationIsNotFound(t *testing.T) {
	t.Parallel()
	_, err := setUp(t).organizations.Get(t.Context(), uuid.Max)
	if p := problemOf(t, err); p.Kind != problem.KindNotFound {
		t.Errorf("got %v", err)
	}
}

func TestUnavailableDatabaseIsSaidSo(t *testing.T) {
	t.Parallel()
	db, err := postgres.Connect(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable", postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	f := setUpOn(t, db)
	_, create := f.organizations.Create(t.Context(), example())
	_, onboard := f.organizations.Onboard(t.Context(), onboarding())
	_, get := f.organizations.Get(t.Context(), uuid.Max)
	_, list := f.organizations.List(t.Context(), organization.Filter{}, 1, uuid.Nil)
	for _, err := range []error{create, onboard, get, list} {
		if p := problemOf(t, err); p.Kind != problem.KindUnavailable || p.Code != "unavailable" || p.RetryAfter <= 0 {
			t.Errorf("got %+v", p)
		}
	}
}

func TestBadValuesNeverReachTheDatabase(t *testing.T) {
	t.Parallel()
	f := setUpOn(t, nil) // would panic
	_, err := f.organizations.Create(t.Context(), organization.New{})
	if p := problemOf(t, err); p.Kind != problem.KindInvalid || len(p.Fields) != 3 {
		t.Errorf("got %+v", p)
	}
	_, err = f.organizations.Onboard(t.Context(), organization.Onboarding{Endpoints: []endpoint.New{{}}})
	if p := problemOf(t, err); p.Kind != problem.KindInvalid {
		t.Errorf("got %+v", p)
	}
}
