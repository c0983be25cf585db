package organization_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/organization"
)

func TestAddressesAreUniqueWithinTheOrganizationWhateverTheirCase(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, example())
	other := example()
	other.Domain = "other.example"
	elsewhere := f.create(t, other)
	f.user(t, o.ID, ada())
	f.user(t, elsewhere.ID, ada())
	second := f.user(t, o.ID, organization.NewUser{Email: "b@example.com", FullName: "B"})
	_, err := f.organizations.AddUser(t.Context(), o.ID, organization.NewUser{Email: "ADA@Example.com", FullName: "A"})
	if problemOf(t, err).Code != "email_taken" {
		t.Errorf("added: %v", err)
	}
	patch := organization.UserPatch{NewUser: organization.NewUser{Email: "Ada@example.com"}, Given: []string{"email"}}
	if _, err := f.organizations.UpdateUser(t.Context(), o.ID, second.ID, nil, patch); problemOf(t, err).Code != "email_taken" {
		t.Errorf("changed: %v", err)
	}
	patch.Email = "B@example.com" // its own
	if u, err := f.organizations.UpdateUser(t.Context(), o.ID, second.ID, nil, patch); err != nil || u.Email != "B@example.com" {
		t.Errorf("%+v %v", u, err)
	}
}

func TestUsersOfAnotherOrganizationAreNotFound(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, example())
	other := example()
	other.Domain = "other.example"
	elsewhere := f.create(t, other)
	foreign := f.user(t, elsewhere.ID, ada())
	before := f.state(t)
	changes := f.changes(t, o, foreign)
	_, got := f.organizations.GetUser(t.Context(), o.ID, foreign.ID)
	_, nobody := f.organizations.GetUser(t.Context(), o.ID, uuid.New())
	for name, err := range map[string]error{"get": got, "update": changes["user.update"](nil), "delete": changes["user.delete"](nil)} {
		if err == nil || problemOf(t, err).Detail != problemOf(t, nobody).Detail {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := f.organizations.ListUsers(t.Context(), o.ID, 10, uuid.Nil); err != nil || len(all) != 0 || len(before) != len(f.state(t)) {
		t.Errorf("%+v %v", all, err)
	}
}

func TestNoMoreUsersThanSeatsHoweverManyComeAtOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	n := example()
	n.MaxUsers = ptr(3)
	o := f.create(t, n)
	var added, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			_, err := f.organizations.AddUser(t.Context(), o.ID, organization.NewUser{Email: fmt.Sprintf("u%d@example.com", i), FullName: "U"})
			switch {
			case err == nil:
				added.Add(1)
			case problemOf(t, err).Code == "seats_used_up":
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if added.Load() != 3 || refused.Load() != 5 {
		t.Errorf("%d added, %d refused", added.Load(), refused.Load())
	}
	if _, err := f.organizations.ChangeSubscription(t.Context(), o.ID, nil, seats(1)); err != nil {
		t.Errorf("fewer seats than users: %v", err)
	}
	if _, err := f.organizations.AddUser(t.Context(), o.ID, ada()); problemOf(t, err).Code != "seats_used_up" {
		t.Errorf("got %v", err)
	}
}

func TestUsersArePagedFromTheNewest(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, example())
	missing := map[uuid.UUID]bool{}
	for i := range 5 {
		missing[f.user(t, o.ID, organization.NewUser{Email: fmt.Sprintf("u%d@example.com", i), FullName: "U"}).ID] = true
	}
	before := uuid.Nil
	for range 3 {
		page, err := f.organizations.ListUsers(t.Context(), o.ID, 2, before)
		if err != nil || len(page) == 0 {
			t.Fatal(page, err)
		}
		for _, u := range page {
			if !missing[u.ID] || before != uuid.Nil && u.ID.String() >= before.String() {
				t.Errorf("%s is unknown, repeated or out of order", u.ID)
			}
			delete(missing, u.ID)
			before = u.ID
		}
	}
	if len(missing) != 0 {
		t.Errorf("%d not listed", len(missing))
	}
}
