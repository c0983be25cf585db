package httpapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/organization"
)

// organizationAnswer has the documented keys in the documented order.
type organizationAnswer struct {
	ID                  uuid.UUID        `json:"id"`
	Name                string           `json:"name"`
	DisplayName         string           `json:"display_name"`
	Domain              string           `json:"domain"`
	PrimaryContactEmail string           `json:"primary_contact_email"`
	SubscriptionTier    string           `json:"subscription_tier"`
	SubscriptionStatus  string           `json:"subscription_status"`
	MaxUsers            int              `json:"max_users"`
	Industry            *string          `json:"industry"`
	CompanySize         *string          `json:"company_size"`
	CreatedAt           event.Timestamp  `json:"created_at"`
	TrialEndDate        *event.Timestamp `json:"trial_end_date"`
	UpdatedAt           event.Timestamp  `json:"updated_at"`
}

func (a organizationAnswer) etag() string { return versionOf(a.UpdatedAt) }

// versionOf is the entity tag of what is changed at another time with every change.
func versionOf(updated event.Timestamp) string { return etag(time.Time(updated).UnixMicro()) }

type onboardingAnswer struct {
	Organization     organizationAnswer `json:"organization"`
	AdminUser        userAnswer         `json:"admin_user"`
	WebhookEndpoints []endpointAnswer   `json:"webhook_endpoints"`
}

func organizationFields(f *fields) organization.New {
	return organization.New{
		Name:                f.text("name"),
		DisplayName:         f.optionalText("display_name"),
		Domain:              f.text("domain"),
		PrimaryContactEmail: f.text("primary_contact_email"),
		SubscriptionTier:    f.optionalText("subscription_tier"),
		SubscriptionStatus:  f.optionalText("subscription_status"),
		MaxUsers:            f.integer("max_users", organization.MaxUsers),
		Industry:            f.optionalText("industry"),
		CompanySize:         f.optionalText("company_size"),
		TrialEndDate:        f.instant("trial_end_date"),
	}
}

func onboardingFields(f *fields) organization.Onboarding {
	in := organization.Onboarding{Organization: organizationFields(f)}
	admin := f.object("admin_user")
	in.AdminUser = organization.AdminUser{Email: admin.text("email"), FullName: admin.text("full_name")}
	for _, e := range f.objects("webhook_endpoints") {
		in.Endpoints = append(in.Endpoints, endpointFields(e))
	}
	return in
}

// organizationPatch takes all but the subscription, which has a route of its own.
func organizationPatch(f *fields) organization.Patch {
	for _, name := range []string{"subscription_tier", "subscription_status", "max_users", "trial_end_date"} {
		f.refuse(name, "not_patchable", "cannot be patched here: PATCH …/subscription")
	}
	for _, required := range []string{"name", "domain", "primary_contact_email"} {
		f.refuseNull(required)
	}
	given := f.given()
	return organization.Patch{New: organizationFields(f), Given: given}
}

func subscriptionPatch(f *fields) organization.Patch {
	return organization.Patch{Given: f.given(), New: organization.New{
		SubscriptionTier:   f.optionalText("subscription_tier"),
		SubscriptionStatus: f.optionalText("subscription_status"),
		MaxUsers:           f.integer("max_users", organization.MaxUsers),
		TrialEndDate:       f.instant("trial_end_date"),
	}}
}

func (s *Server) updateOrganization(ctx context.Context, of subject, p organization.Patch) (organization.Organization, error) {
	return s.organizations.Update(ctx, of.id, of.versions, p)
}

func (s *Server) changeSubscription(ctx context.Context, of subject, p organization.Patch) (organization.Organization, error) {
	return s.organizations.ChangeSubscription(ctx, of.id, of.versions, p)
}

func showNewOrganization(made organization.Organization) created {
	return created{location: locationOf(made), body: showOrganization(made)}
}

func showOnboarded(made organization.Onboarded) created {
	body := onboardingAnswer{
		Organization: showOrganization(made.Organization), AdminUser: showUser(made.AdminUser), WebhookEndpoints: []endpointAnswer{},
	}
	for _, e := range made.Endpoints {
		body.WebhookEndpoints = append(body.WebhookEndpoints, showCreated(e))
	}
	return created{location: locationOf(made.Organization), body: body}
}

// organizationFilter takes a domain as a creation does, so that whoever sends the same
// text finds what it made.
func organizationFilter(p *params) (f organization.Filter) {
	given := p.text("domain")
	if given == nil {
		return f
	}
	domain, found := organization.CheckDomain(*given)
	for _, w := range found {
		p.wrong.add("domain", "invalid_value", w.Detail)
	}
	f.Domain = domain
	return f
}

func organizationItem(o organization.Organization) (uuid.UUID, any) { return o.ID, showOrganization(o) }

func locationOf(o organization.Organization) string { return organizationsPath + "/" + o.ID.String() }

func showOrganization(o organization.Organization) organizationAnswer {
	return organizationAnswer{
		ID: o.ID, Name: o.Name, DisplayName: o.DisplayName, Domain: o.Domain, PrimaryContactEmail: o.PrimaryContactEmail,
		SubscriptionTier: o.SubscriptionTier, SubscriptionStatus: o.SubscriptionStatus, MaxUsers: o.MaxUsers,
		Industry: o.Industry, CompanySize: o.CompanySize, CreatedAt: event.Timestamp(o.CreatedAt),
		TrialEndDate: (*event.Timestamp)(o.TrialEndDate), UpdatedAt: event.Timestamp(o.UpdatedAt),
	}
}
