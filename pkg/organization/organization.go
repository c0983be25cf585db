// Package organization owns the tables organizations and users. Each write and
// telling the endpoints of it is one transaction: both happen, or neither does.
//
// A write publishes one event. What a creation and a deletion bring with them, the
// first user and the end of all users, is part of theirs. Whatever changes an
// organization or its users first locks the row of the organization, so that the
// values that events carry as previous are those of the event before, and the turns
// that ordered endpoints need (see outbox.Publish) are taken after it, by everybody.
package organization

import (
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
)

// New is an organization to be created. Texts are stored and delivered as they
// are given, except the domain.
type New struct {
	Name                string     // 1 to 200 characters
	DisplayName         *string    // 1 to 200 characters; nil: Name
	Domain              string     // DNS name, stored in lower case with A-labels; unique
	PrimaryContactEmail string     // bare address, up to 254 bytes
	SubscriptionTier    *string    // slug; nil: starter
	SubscriptionStatus  *string    // see statuses; nil: active
	MaxUsers            *int       // 1 to 1,000,000; nil: 10
	Industry            *string    // 1 to 100 characters; nil: unknown
	CompanySize         *string    // "50-100", "1000+" or "1"; nil: unknown
	TrialEndDate        *time.Time // stored in UTC, microseconds; nil: none
}

// AdminUser is the first user of an organization that comes by onboarding.
type AdminUser struct {
	Email    string // bare address, up to 254 bytes
	FullName string // 1 to 200 characters
}

// Organization is a row of the table. Times are UTC.
type Organization struct {
	ID                  uuid.UUID  `db:"id"`
	Name                string     `db:"name"`
	DisplayName         string     `db:"display_name"`
	Domain              string     `db:"domain"`
	PrimaryContactEmail string     `db:"primary_contact_email"`
	SubscriptionTier    string     `db:"subscription_tier"`
	SubscriptionStatus  string     `db:"subscription_status"`
	MaxUsers            int        `db:"max_users"`
	Industry            *string    `db:"industry"`
	CompanySize         *string    `db:"company_size"`
	CreatedAt           time.Time  `db:"created_at"`
	TrialEndDate        *time.Time `db:"trial_end_date"`
	UpdatedAt           time.Time  `db:"updated_at"`
}

// Version is another one after each change.
func (o Organization) Version() int64 { return o.UpdatedAt.UnixMicro() }

// payload is the organization as events carry it.
func (o Organization) payload() event.Organization {
	return event.Organization{
		ID: o.ID, Name: o.Name, DisplayName: o.DisplayName, Domain: o.Domain, PrimaryContactEmail: o.PrimaryContactEmail,
		SubscriptionTier: o.SubscriptionTier, SubscriptionStatus: o.SubscriptionStatus, MaxUsers: o.MaxUsers,
		Industry: o.Industry, CompanySize: o.CompanySize,
		CreatedAt: event.Timestamp(o.CreatedAt), TrialEndDate: (*event.Timestamp)(o.TrialEndDate),
	}
}

// inUTC changes the zone of what the driver read, not the instants.
func (o Organization) inUTC() Organization {
	o.CreatedAt, o.UpdatedAt = o.CreatedAt.UTC(), o.UpdatedAt.UTC()
	if o.TrialEndDate != nil {
		end := o.TrialEndDate.UTC()
		o.TrialEndDate = &end
	}
	return o
}
