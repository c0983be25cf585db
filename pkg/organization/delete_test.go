package organization_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

func TestNothingIsFoundOfADeletedOrganization(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, example())
	u := f.user(t, o.ID, ada())
	if err := f.organizations.Delete(t.Context(), o.ID, nil); err != nil {
		t.Fatal(err)
	}
	asked := f.changes(t, o, u)
	for name, change := range asked {
		if err := change(nil); problemOf(t, err).Code != "not_found" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, got := f.organizations.Get(t.Context(), o.ID)
	_, gotUser := f.organizations.GetUser(t.Context(), o.ID, u.ID)
	_, listed := f.organizations.ListUsers(t.Context(), o.ID, 1, uuid.Nil)
	_, added := f.organizations.AddUser(t.Context(), o.ID, ada())
	for name, err := range map[string]error{"get": got, "get user": gotUser, "list users": listed, "add user": added} {
		if problemOf(t, err).Code != "not_found" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := f.organizations.List(t.Context(), organization.Filter{}, 10, uuid.Nil); err != nil || len(all) != 0 {
		t.Errorf("listed: %+v %v", all, err)
	}
	var texts string
	err := f.db.GetContext(t.Context(), &texts, `SELECT concat(name, display_name, primary_contact_email, industry, company_size, (SELECT count(*) FROM sonicus.users)) FROM sonicus.organizations`)
	if err != nil || texts != "0" {
		t.Errorf("kept: %q %v", texts, err)
	}
}

func TestDomainIsFreeAfterTheDeletion(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for range 3 {
		o := f.create(t, example())
		if err := f.organizations.Delete(t.Context(), o.ID, nil); err != nil {
			t.Fatal(err)
		}
	}
	f.create(t, example())
	broken, err := outbox.Verify(t.Context(), f.db)
	if err != nil || len(broken) != 0 {
		t.Errorf("%+v %v", broken, err)
	}
}

func TestEndpointsOfADeletedOrganizationHearOfItAndNoMore(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, example())
	own := hook("*", "webhook.*")
	own.OrganizationID = &o.ID
	id := f.register(t, own)
	if err := f.organizations.Delete(t.Context(), o.ID, nil); err != nil {
		t.Fatal(err)
	}
	f.publish(t, func(now time.Time) (event.Envelope, error) {
		return event.NewEndpointDisabled(postgres.NewID(now), now, event.DisabledEndpoint{Endpoint: event.Endpoint{ID: id, OrganizationID: &o.ID}, DisabledReason: event.DisabledGone})
	})
	f.publish(t, func(now time.Time) (event.Envelope, error) {
		return event.NewOrganizationTest(postgres.NewID(now), now)
	})
	if told := f.hinted(); len(told) != 1 || !told[0][id] {
		t.Errorf("told %v", told)
	}
	f.create(t, example())
	var got []string
	if err := f.db.SelectContext(t.Context(), &got, `SELECT event_type FROM sonicus.deliveries WHERE endpoint_id = $1`, id); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != "organization.deleted" {
		t.Errorf("got %v", got)
	}
	if _, err := f.endpoints.Create(t.Context(), own); problemOf(t, err).Fields[0].Code != "unknown_organization" {
		t.Errorf("a new one: %v", err)
	}
}

func (f *fixture) publish(t *testing.T, seal func(now time.Time) (event.Envelope, error)) {
	t.Helper()
	err := postgres.InTx(t.Context(), f.db, func(tx *sqlx.Tx, now time.Time) error {
		e, err := seal(now)
		if err != nil {
			return err
		}
		_, err = outbox.Publish(t.Context(), tx, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An endpoint that is registered while its organization is deleted is refused, or it
// was there before: then it has been told.
func TestNoEndpointComesInBesideADeletion(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for range 5 {
		o := f.create(t, example())
		own := hook("*")
		own.OrganizationID = &o.ID
		var made uuid.UUID
		var both sync.WaitGroup
		both.Go(func() {
			if got, err := f.endpoints.Create(t.Context(), own); err == nil {
				made = got.ID
			}
		})
		both.Go(func() {
			if err := f.organizations.Delete(t.Context(), o.ID, nil); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if receivers := f.receivers(t, o.ID); made != uuid.Nil && !receivers[made] {
			t.Errorf("%s was not told", made)
		}
	}
}

func TestOneOfTwoDeletionsAtOnceFindsNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, example())
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i := range errs {
		both.Go(func() { errs[i] = f.organizations.Delete(t.Context(), o.ID, nil) })
	}
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || len(f.events(t, o.ID)) != 1 {
		t.Errorf("%v", errs)
	}
}

func TestDomainOfAnotherIsRefusedInAChange(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, example())
	other := example()
	other.Domain = "other.example"
	f.create(t, other)
	before := f.state(t)
	_, err := f.organizations.Update(t.Context(), o.ID, nil, organization.Patch{New: organization.New{Domain: "OTHER.example"}, Given: []string{"domain"}})
	if p := problemOf(t, err); p.Code != "domain_taken" || len(before) != len(f.state(t)) {
		t.Errorf("got %v", err)
	}
}
