package event

import (
	"time"

	"github.com/google/uuid"
)

// SubscriptionChanged tells that the subscription of an organization has changed,
// which no [OrganizationUpdated] tells.
const SubscriptionChanged = "subscription.changed"

// Subscription is data.subscription of a payload: the part of the organization that
// has changed.
type Subscription struct {
	SubscriptionTier   string     `json:"subscription_tier"`
	SubscriptionStatus string     `json:"subscription_status"`
	MaxUsers           int        `json:"max_users"`
	TrialEndDate       *Timestamp `json:"trial_end_date"`
}

// FormerSubscription is to a subscription what [FormerOrganization] is to an
// organization.
type FormerSubscription struct {
	SubscriptionTier   *string     `json:"subscription_tier,omitempty"`
	SubscriptionStatus *string     `json:"subscription_status,omitempty"`
	MaxUsers           *int        `json:"max_users,omitempty"`
	TrialEndDate       **Timestamp `json:"trial_end_date,omitempty"`
}

type subscriptionChanged struct {
	Organization Organization       `json:"organization"`
	Subscription Subscription       `json:"subscription"`
	Previous     FormerSubscription `json:"previous" doc:"What the values that have changed were before; the others are left out."`
}

// NewSubscriptionChanged makes the event of an organization that is now org.
func NewSubscriptionChanged(id uuid.UUID, at time.Time, org Organization, previous FormerSubscription) (Envelope, error) {
	return seal(SubscriptionChanged, id, &org.ID, at, subscriptionChanged{
		Organization: org, Previous: previous,
		Subscription: Subscription{
			SubscriptionTier: org.SubscriptionTier, SubscriptionStatus: org.SubscriptionStatus, MaxUsers: org.MaxUsers, TrialEndDate: org.TrialEndDate,
		},
	})
}
