package organization_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/organization"
)

// Whoever changes an organization at the same time as others tells of what it was
// after the change before, so that the events tell one history without a gap.
func TestChangesAtOnceTellOneHistory(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	ordered := hook("*")
	ordered.Ordering = ptr("organization")
	f.register(t, ordered)
	o := f.create(t, example())
	const n = 20
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			var err error
			switch i % 4 {
			case 0:
				_, err = f.organizations.AddUser(t.Context(), o.ID, organization.NewUser{Email: fmt.Sprintf("u%d@example.com", i), FullName: "U"})
			case 1:
				_, err = f.organizations.ChangeSubscription(t.Context(), o.ID, nil, seats(100+i))
			default:
				_, err = f.organizations.Update(t.Context(), o.ID, nil, renamed(fmt.Sprint("name ", i)))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	name, users := o.Name, o.MaxUsers
	turns := f.turns(t)
	if len(turns) != n+1 {
		t.Errorf("%d events, want %d", len(turns), n+1)
	}
	for _, e := range turns[1:] {
		var is struct {
			Data struct {
				Organization struct {
					Name     string
					MaxUsers int `json:"max_users"`
				}
				Previous struct {
					Name     *string
					MaxUsers *int `json:"max_users"`
				}
			}
		}
		if err := json.Unmarshal([]byte(e.Payload), &is); err != nil {
			t.Fatal(err)
		}
		was := is.Data.Previous
		if was.Name != nil && *was.Name != name || was.MaxUsers != nil && *was.MaxUsers != users {
			t.Errorf("after %q and %d: %s", name, users, e.Payload)
		}
		name, users = is.Data.Organization.Name, is.Data.Organization.MaxUsers
	}
}

// turns are the events in the order in which an endpoint gets them that wants one after another.
func (f *fixture) turns(t *testing.T) (all []told) {
	t.Helper()
	err := f.db.SelectContext(t.Context(), &all, `SELECT e.id, e.event_type, e.payload::text, e.created_at FROM sonicus.queue q
		JOIN sonicus.deliveries d ON d.id = q.delivery_id JOIN sonicus.events e ON e.id = d.event_id WHERE q.position IS NOT NULL ORDER BY q.position`)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOrderedEndpointsGetOneLifeInItsOrder(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	ordered := hook("*")
	ordered.Ordering = ptr("organization")
	f.register(t, ordered)
	o := f.create(t, example())
	u := f.user(t, o.ID, ada())
	changes := f.changes(t, o, u)
	for _, name := range []string{"user.update", "organization.update", "user.delete", "subscription.change", "organization.delete"} {
		if err := changes[name](nil); err != nil {
			t.Fatal(name, err)
		}
	}
	var got []string
	for _, e := range f.turns(t) {
		got = append(got, e.Type)
	}
	want := []string{"organization.created", "user.created", "user.updated", "organization.updated", "user.deleted", "subscription.changed", "organization.deleted"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
