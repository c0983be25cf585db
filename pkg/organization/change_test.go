package organization_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/organization"
)

// changes are one of each kind, of the organization o with the user u.
func (f *fixture) changes(t *testing.T, o organization.Organization, u organization.User) map[string]func(endpoint.Versions) error {
	t.Helper()
	return map[string]func(endpoint.Versions) error{
		"organization.update": func(v endpoint.Versions) error {
			_, err := f.organizations.Update(t.Context(), o.ID, v, renamed("B"))
			return err
		},
		"subscription.change": func(v endpoint.Versions) error {
			_, err := f.organizations.ChangeSubscription(t.Context(), o.ID, v, seats(11))
			return err
		},
		"organization.delete": func(v endpoint.Versions) error { return f.organizations.Delete(t.Context(), o.ID, v) },
		"user.update": func(v endpoint.Versions) error {
			_, err := f.organizations.UpdateUser(t.Context(), o.ID, u.ID, v, organization.UserPatch{NewUser: organization.NewUser{FullName: "B"}, Given: []string{"full_name"}})
			return err
		},
		"user.delete": func(v endpoint.Versions) error { return f.organizations.DeleteUser(t.Context(), o.ID, u.ID, v) },
	}
}

// state is all that a change could have written.
func (f *fixture) state(t *testing.T) (all []string) {
	t.Helper()
	err := f.db.SelectContext(t.Context(), &all, `SELECT o::text FROM sonicus.organizations o UNION ALL SELECT u::text FROM sonicus.users u
		UNION ALL SELECT id::text FROM sonicus.events UNION ALL SELECT id::text FROM sonicus.audit_log ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatChangesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, example())
	u := f.user(t, o.ID, ada())
	before := f.state(t)
	for name, change := range map[string]func() error{
		"nothing given": func() error {
			_, err := f.organizations.Update(t.Context(), o.ID, nil, organization.Patch{})
			return err
		},
		"the same values": func() error {
			same := organization.Patch{New: example(), Given: []string{"name", "display_name", "domain", "primary_contact_email", "industry"}}
			same.Domain = "EXAMPLE.com"
			_, err := f.organizations.Update(t.Context(), o.ID, nil, same)
			return err
		},
		"the same subscription": func() error {
			_, err := f.organizations.ChangeSubscription(t.Context(), o.ID, nil, seats(o.MaxUsers))
			return err
		},
		"the same user": func() error {
			_, err := f.organizations.UpdateUser(t.Context(), o.ID, u.ID, nil, organization.UserPatch{NewUser: ada(), Given: []string{"email", "full_name", "role"}})
			return err
		},
	} {
		if err := change(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, f.state(t)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestChangesOfWhatHasChangedSinceAreRefused(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, example())
	u := f.user(t, o.ID, ada())
	before := f.state(t)
	for name, change := range f.changes(t, o, u) {
		if err := change(endpoint.Versions{1}); problemOf(t, err).Code != "precondition_failed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff(before, f.state(t)); diff != "" {
		t.Error(diff)
	}
	changed, err := f.organizations.Update(t.Context(), o.ID, endpoint.Versions{1, o.Version()}, renamed("B"))
	if err != nil || changed.Version() == o.Version() {
		t.Errorf("%+v %v", changed, err)
	}
}

// What cannot be told, or not be put into the audit trail, does not happen.
func TestNoChangeWithoutItsEventAndItsAuditRow(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"events", "audit_log"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			o := f.create(t, example())
			u := f.user(t, o.ID, ada())
			before := f.state(t)
			f.exec(t, `ALTER TABLE sonicus.`+table+` ADD CONSTRAINT closed CHECK (false) NOT VALID`)
			for name, change := range f.changes(t, o, u) {
				if err := change(nil); err == nil {
					t.Errorf("%s: done", name)
				}
			}
			if _, err := f.organizations.AddUser(t.Context(), o.ID, organization.NewUser{Email: "b@example.com", FullName: "B"}); err == nil {
				t.Error("added")
			}
			if diff := cmp.Diff(before, f.state(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTrailTellsOfEveryChange(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"organization.update", "subscription.change", "organization.delete", "user.update", "user.delete"} {
		f := setUp(t)
		o := f.create(t, example())
		u := f.user(t, o.ID, ada())
		if err := f.changes(t, o, u)[action](nil); err != nil {
			t.Fatal(err)
		}
		if got := f.trail(t)[0]; got.Action != action || string(got.Before) == "null" || string(got.After) == string(got.Before) {
			t.Errorf("%s: got %+v", action, got)
		}
	}
}

func TestChangesOfNothingAreNotFound(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for name, change := range f.changes(t, organization.Organization{ID: uuid.New()}, organization.User{ID: uuid.New()}) {
		if err := change(nil); problemOf(t, err).Code != "not_found" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
