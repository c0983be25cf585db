package organization

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// Patch changes values of an organization. Those that Given names, as they are called
// in JSON, become what they are in New, by the same rules as at the creation: nil is
// the default. All others stay.
type Patch struct {
	New
	Given []string
}

// profile and subscription are how the values that go together are copied from one
// organization to another.
var (
	profile = map[string]func(to *Organization, from Organization){
		"name":                  func(to *Organization, from Organization) { to.Name = from.Name },
		"display_name":          func(to *Organization, from Organization) { to.DisplayName = from.DisplayName },
		"domain":                func(to *Organization, from Organization) { to.Domain = from.Domain },
		"primary_contact_email": func(to *Organization, from Organization) { to.PrimaryContactEmail = from.PrimaryContactEmail },
		"industry":              func(to *Organization, from Organization) { to.Industry = from.Industry },
		"company_size":          func(to *Organization, from Organization) { to.CompanySize = from.CompanySize },
	}
	subscription = map[string]func(to *Organization, from Organization){
		"subscription_tier":   func(to *Organization, from Organization) { to.SubscriptionTier = from.SubscriptionTier },
		"subscription_status": func(to *Organization, from Organization) { to.SubscriptionStatus = from.SubscriptionStatus },
		"max_users":           func(to *Organization, from Organization) { to.MaxUsers = from.MaxUsers },
		"trial_end_date":      func(to *Organization, from Organization) { to.TrialEndDate = from.TrialEndDate },
	}
)

// Update changes an organization that has one of the expected versions, but for its
// subscription, and returns it as it is then. What changes is told as
// organization.updated; nothing, when nothing does. Problems: Invalid for bad values,
// NotFound, PreconditionFailed, Conflict (domain_taken), and Unavailable as for
// [Store.Create].
func (s *Store) Update(ctx context.Context, id uuid.UUID, expected endpoint.Versions, p Patch) (Organization, error) {
	return s.patch(ctx, id, expected, p, "organization.update", profile, func(at time.Time, before, after Organization) (event.Envelope, bool, error) {
		previous := formerProfile(before, after)
		ev, err := event.NewOrganizationUpdated(postgres.NewID(at), at, after.payload(), previous)
		return ev, previous != event.FormerOrganization{}, err
	})
}

// ChangeSubscription is [Store.Update] for the subscription, which is told as
// subscription.changed. Fewer seats than there are users are no problem: it is those
// who come that need one.
func (s *Store) ChangeSubscription(ctx context.Context, id uuid.UUID, expected endpoint.Versions, p Patch) (Organization, error) {
	return s.patch(ctx, id, expected, p, "subscription.change", subscription, func(at time.Time, before, after Organization) (event.Envelope, bool, error) {
		previous := formerSubscription(before, after)
		ev, err := event.NewSubscriptionChanged(postgres.NewID(at), at, after.payload(), previous)
		return ev, previous != event.FormerSubscription{}, err
	})
}

// updating takes what values returns, and publishes an event in the same statement.
var updating = outbox.With(`
UPDATE sonicus.organizations
SET name = $2, display_name = $3, domain = $4, primary_contact_email = $5, subscription_tier = $6, subscription_status = $7,
    max_users = $8, industry = $9, company_size = $10, trial_end_date = $11, created_at = $12, updated_at = $13
WHERE id = $1`)

// patch sets those of the given values that are settable; tell makes the event, and
// says whether anything has changed.
func (s *Store) patch(ctx context.Context, id uuid.UUID, expected endpoint.Versions, p Patch, action string,
	settable map[string]func(*Organization, Organization), tell func(at time.Time, before, after Organization) (event.Envelope, bool, error),
) (Organization, error) {
	checked, found := p.check()
	if found = given(found, p.Given); len(found) > 0 {
		return Organization{}, problem.Invalid(found...)
	}
	return change(ctx, s, id, "organization", action, func(c *changing) (Organization, error) {
		if err := expect(expected, c.org.Version()); err != nil {
			return Organization{}, err
		}
		after := p.onto(c.org, checked, settable)
		after.UpdatedAt = c.after(c.org.UpdatedAt)
		ev, changed, err := tell(after.UpdatedAt, c.org, after)
		if err != nil {
			return Organization{}, err
		}
		if !changed {
			return c.org, nil
		}
		return after, c.publish(ctx, updating, ev, after.change(action, c.org.payload(), after.payload()), after.values()...)
	})
}

// given is what is wrong with the values that are there.
func given(found []problem.Field, names []string) []problem.Field {
	return slices.DeleteFunc(found, func(f problem.Field) bool { return !slices.Contains(names, f.Field) })
}

// onto returns the organization with the values that are given. The name that is
// shown is by default the name that it has then.
func (p Patch) onto(o, checked Organization, settable map[string]func(*Organization, Organization)) Organization {
	for _, name := range p.Given {
		if set, ok := settable[name]; ok {
			set(&o, checked)
		}
	}
	if slices.Contains(p.Given, "display_name") && p.DisplayName == nil {
		o.DisplayName = o.Name
	}
	return o
}
