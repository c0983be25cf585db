package organization_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/organization"
)

// told is an event of an organization, as it is stored.
type told struct {
	ID        uuid.UUID `db:"id"`
	Type      string    `db:"event_type"`
	Payload   string    `db:"payload"`
	CreatedAt time.Time `db:"created_at"`
}

// events are all of an organization but its creation, in the order of their times.
func (f *fixture) events(t *testing.T, organization uuid.UUID) (all []told) {
	t.Helper()
	err := f.db.SelectContext(t.Context(), &all, `SELECT id, event_type, payload::text, created_at FROM sonicus.events
		WHERE organization_id = $1 AND event_type <> 'organization.created' ORDER BY created_at, id`, organization)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (f *fixture) user(t *testing.T, of uuid.UUID, n organization.NewUser) organization.User {
	t.Helper()
	u, err := f.organizations.AddUser(t.Context(), of, n)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func ada() organization.NewUser {
	return organization.NewUser{Email: "ada@example.com", FullName: "Ada Lovelace"}
}

func renamed(name string) organization.Patch {
	return organization.Patch{New: organization.New{Name: name}, Given: []string{"name"}}
}

func seats(n int) organization.Patch {
	return organization.Patch{New: organization.New{MaxUsers: &n}, Given: []string{"max_users"}}
}

func TestEveryChangeIsToldAsItIsDocumentedByteForByte(t *testing.T) {
	t.Parallel()
	for eventType, change := range map[string]func(*fixture, organization.Organization, organization.User) error{
		"organization.updated": func(f *fixture, o organization.Organization, _ organization.User) error {
			_, err := f.organizations.Update(t.Context(), o.ID, nil, organization.Patch{
				New:   organization.New{Name: "Example Group", Domain: "EXAMPLE.org", PrimaryContactEmail: o.PrimaryContactEmail, Industry: ptr("Technology")},
				Given: []string{"name", "domain", "primary_contact_email", "industry"},
			})
			return err
		},
		"organization.deleted": func(f *fixture, o organization.Organization, _ organization.User) error {
			return f.organizations.Delete(t.Context(), o.ID, nil)
		},
		"subscription.changed": func(f *fixture, o organization.Organization, _ organization.User) error {
			_, err := f.organizations.ChangeSubscription(t.Context(), o.ID, nil, organization.Patch{
				New: organization.New{
					SubscriptionTier: ptr("premium"), SubscriptionStatus: ptr("trial"), MaxUsers: ptr(250),
					TrialEndDate: ptr(time.Date(2030, 1, 2, 5, 4, 5, 600, time.FixedZone("", 7200))),
				},
				Given: []string{"subscription_tier", "subscription_status", "max_users", "trial_end_date"},
			})
			return err
		},
		"user.created": func(*fixture, organization.Organization, organization.User) error { return nil },
		"user.updated": func(f *fixture, o organization.Organization, u organization.User) error {
			_, err := f.organizations.UpdateUser(t.Context(), o.ID, u.ID, nil, organization.UserPatch{
				NewUser: organization.NewUser{Email: "countess@example.com", FullName: u.FullName, Role: ptr("admin")}, Given: []string{"email", "full_name", "role"},
			})
			return err
		},
		"user.deleted": func(f *fixture, o organization.Organization, u organization.User) error {
			return f.organizations.DeleteUser(t.Context(), o.ID, u.ID, nil)
		},
	} {
		t.Run(eventType, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			o := f.create(t, example())
			u := f.user(t, o.ID, ada())
			if err := change(f, o, u); err != nil {
				t.Fatal(err)
			}
			all := f.events(t, o.ID)
			got := all[len(all)-1]
			want := documented(t, "testdata/"+eventType+".json", "EVENT", got.ID.String(), "ORGANIZATION", o.ID.String(), "USER", u.ID.String(),
				"NOW", got.CreatedAt.UTC().Format(wire), "CREATED", o.CreatedAt.Format(wire), "JOINED", u.CreatedAt.Format(wire))
			if got.Type != eventType || got.Payload != want {
				t.Errorf("got  %s\nwant %s", got.Payload, want)
			}
		})
	}
}
