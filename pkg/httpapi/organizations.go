package httpapi

import (
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

type userAnswer struct {
	ID             uuid.UUID       `json:"id"`
	OrganizationID uuid.UUID       `json:"organization_id"`
	Email          string          `json:"email"`
	FullName       string          `json:"full_name"`
	Role           string          `json:"role"`
	CreatedAt      event.Timestamp `json:"created_at"`
	UpdatedAt      event.Timestamp `json:"updated_at"`
}

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

func showUser(u organization.User) userAnswer {
	return userAnswer{
		ID: u.ID, OrganizationID: u.OrganizationID, Email: u.Email, FullName: u.FullName, Role: u.Role,
		CreatedAt: event.Timestamp(u.CreatedAt), UpdatedAt: event.Timestamp(u.UpdatedAt),
	}
}
