package organization

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// maxEndpoints is how many endpoints an onboarding may bring.
const maxEndpoints = 20

// Onboarding is an organization with all that it needs from its first moment.
type Onboarding struct {
	Organization New
	AdminUser    AdminUser
	Endpoints    []endpoint.New // up to 20, without OrganizationID: they become the organization's own
}

// Onboarded is what an onboarding has written.
type Onboarded struct {
	Organization Organization
	AdminUser    User
	Endpoints    []endpoint.Created // in the order given
}

// Onboard writes an organization, its first user with the role admin, its
// endpoints and its organization.created event, which carries data.admin_user
// and goes to those endpoints too, in one transaction. Problems are those of
// [Store.Create], and Unavailable when ctx ends while hosts are looked up; fields are named admin_user.email, webhook_endpoints[0].url …
func (s *Store) Onboard(ctx context.Context, o Onboarding) (Onboarded, error) {
	org, checked, err := s.check(ctx, o)
	if err != nil {
		return Onboarded{}, err
	}
	return write(ctx, s, &org, func(tx *sqlx.Tx, now time.Time) (Onboarded, []uuid.UUID, error) {
		done := Onboarded{Organization: org, AdminUser: admin(org, o.AdminUser, now)}
		told, err := s.onboard(ctx, tx, now, &done, checked)
		return done, told, err
	})
}

func admin(org Organization, a AdminUser, now time.Time) User {
	return User{ID: postgres.NewID(now), OrganizationID: org.ID, Email: a.Email, FullName: a.FullName, Role: roleAdmin, CreatedAt: now, UpdatedAt: now}
}

// onboard writes all of an onboarding. The organization comes before the endpoints,
// which refer to it, and they before the event, so that they receive it.
func (s *Store) onboard(ctx context.Context, tx *sqlx.Tx, now time.Time, done *Onboarded, checked []endpoint.Checked) ([]uuid.UUID, error) {
	o, u := done.Organization, done.AdminUser
	if _, err := tx.ExecContext(ctx, insertOrganization, o.values()...); err != nil {
		return nil, fmt.Errorf("insert organization: %w", err)
	}
	for _, c := range checked {
		c.OrganizationID = &o.ID
		made, err := s.endpoints.Insert(ctx, tx, now, c)
		if err != nil {
			return nil, err
		}
		done.Endpoints = append(done.Endpoints, made)
	}
	ev, err := o.created(now, u.introduced())
	if err != nil {
		return nil, err
	}
	told, err := adding.Publish(ctx, tx, ev, u.values()...)
	if err != nil {
		return nil, err
	}
	return told, access.Record(ctx, tx, now, o.change("organization.onboard", nil, done.shown()))
}

// shown is an onboarding as the audit trail keeps it. The endpoints are there by
// their ids alone: each has an entry of its own.
func (d *Onboarded) shown() any {
	endpoints := []uuid.UUID{}
	for _, e := range d.Endpoints {
		endpoints = append(endpoints, e.ID)
	}
	return struct {
		Organization event.Organization `json:"organization"`
		AdminUser    *event.User        `json:"admin_user"`
		Endpoints    []uuid.UUID        `json:"webhook_endpoints"`
	}{d.Organization.payload(), d.AdminUser.introduced(), endpoints}
}

// check reports every bad field of all parts at once. Hosts are looked up only
// when nothing else is wrong.
func (s *Store) check(ctx context.Context, o Onboarding) (Organization, []endpoint.Checked, error) {
	org, found := o.Organization.check()
	found = slices.Concat(found, o.AdminUser.check(), s.checkFields(o.Endpoints))
	if len(found) > 0 {
		return Organization{}, nil, problem.Invalid(found...)
	}
	checked, err := s.checkEndpoints(ctx, o.Endpoints)
	if err != nil {
		return Organization{}, nil, fmt.Errorf("check endpoints: %w", err)
	}
	return org, checked, nil
}

func (s *Store) checkFields(all []endpoint.New) []problem.Field {
	if len(all) > maxEndpoints {
		return wrong("webhook_endpoints", "too_many", fmt.Sprintf("give at most %d endpoints; register the others afterwards", maxEndpoints))
	}
	var found []problem.Field
	for i, n := range all {
		if n.OrganizationID != nil {
			found = append(found, wrong(at(i)+"organization_id", "not_allowed", "leave it out: the endpoint belongs to the new organization")...)
		}
		found = append(found, s.endpoints.CheckFields(n, at(i))...)
	}
	return found
}

// checkEndpoints asks for all at once: each may have a name to look up.
func (s *Store) checkEndpoints(ctx context.Context, all []endpoint.New) ([]endpoint.Checked, error) {
	checked, errs := make([]endpoint.Checked, len(all)), make([]error, len(all))
	var wait sync.WaitGroup
	for i, n := range all {
		wait.Go(func() { checked[i], errs[i] = s.endpoints.Check(ctx, n, at(i)) })
	}
	wait.Wait()
	var found []problem.Field
	for _, err := range errs {
		if p, ok := errors.AsType[*problem.Error](err); ok && p.Kind == problem.KindInvalid {
			found = append(found, p.Fields...)
		} else if err != nil {
			return nil, err
		}
	}
	if len(found) > 0 {
		return nil, problem.Invalid(found...)
	}
	return checked, nil
}

func at(i int) string { return fmt.Sprintf("webhook_endpoints[%d].", i) }
