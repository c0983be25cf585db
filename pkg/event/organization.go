package event

import (
	"time"

	"github.com/google/uuid"
)

// What can become of an organization. Its first users are told of by the first, and
// its last ones by the last.
const (
	OrganizationCreated = "organization.created"
	OrganizationUpdated = "organization.updated"
	OrganizationDeleted = "organization.deleted"
)

// Organization is data.organization of a payload, keys in the documented order.
type Organization struct {
	ID                  uuid.UUID  `json:"id" format:"-" doc:"A UUID, but test-org-12345 in a test."`
	Name                string     `json:"name"`
	DisplayName         string     `json:"display_name"`
	Domain              string     `json:"domain"`
	PrimaryContactEmail string     `json:"primary_contact_email"`
	SubscriptionTier    string     `json:"subscription_tier"`
	SubscriptionStatus  string     `json:"subscription_status"`
	MaxUsers            int        `json:"max_users"`
	Industry            *string    `json:"industry"`
	CompanySize         *string    `json:"company_size"`
	CreatedAt           Timestamp  `json:"created_at"`
	TrialEndDate        *Timestamp `json:"trial_end_date"`
}

// User is data.admin_user of a payload.
type User struct {
	ID       uuid.UUID `json:"id"`
	Email    string    `json:"email"`
	FullName string    `json:"full_name"`
}

type organizationCreated struct {
	Organization Organization `json:"organization"`
	AdminUser    *User        `json:"admin_user,omitempty"`
}

// NewOrganizationCreated makes the event of a new organization. admin is its
// first user when it came by onboarding, otherwise nil and left out.
func NewOrganizationCreated(id uuid.UUID, at time.Time, org Organization, admin *User) (Envelope, error) {
	return seal(OrganizationCreated, id, &org.ID, at, organizationCreated{Organization: org, AdminUser: admin})
}

// FormerOrganization is data.previous of a payload: what the values that have changed
// were before. The others are left out. A pointer to nil is a value that was null.
type FormerOrganization struct {
	Name                *string  `json:"name,omitempty"`
	DisplayName         *string  `json:"display_name,omitempty"`
	Domain              *string  `json:"domain,omitempty"`
	PrimaryContactEmail *string  `json:"primary_contact_email,omitempty"`
	Industry            **string `json:"industry,omitempty"`
	CompanySize         **string `json:"company_size,omitempty"`
}

type organizationUpdated struct {
	Organization Organization       `json:"organization"`
	Previous     FormerOrganization `json:"previous" doc:"What the values that have changed were before; the others are left out."`
}

// NewOrganizationUpdated makes the event of an organization that is now org.
func NewOrganizationUpdated(id uuid.UUID, at time.Time, org Organization, previous FormerOrganization) (Envelope, error) {
	return seal(OrganizationUpdated, id, &org.ID, at, organizationUpdated{Organization: org, Previous: previous})
}

type organizationDeleted struct {
	Organization Organization `json:"organization" doc:"As it was."`
}

// NewOrganizationDeleted makes the event of an organization that was org.
func NewOrganizationDeleted(id uuid.UUID, at time.Time, org Organization) (Envelope, error) {
	return seal(OrganizationDeleted, id, &org.ID, at, organizationDeleted{Organization: org})
}
