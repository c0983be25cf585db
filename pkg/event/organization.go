package event

import (
	"time"

	"github.com/google/uuid"
)

// OrganizationCreated tells that an organization has been created.
const OrganizationCreated = "organization.created"

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
