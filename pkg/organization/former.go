package organization

import "github.com/sonicus/webhooks/pkg/event"

// formerProfile is what of the profile has changed, as it was.
func formerProfile(before, after Organization) event.FormerOrganization {
	return event.FormerOrganization{
		Name: former(before.Name, after.Name), DisplayName: former(before.DisplayName, after.DisplayName), Domain: former(before.Domain, after.Domain),
		PrimaryContactEmail: former(before.PrimaryContactEmail, after.PrimaryContactEmail),
		Industry:            formerOptional(before.Industry, after.Industry), CompanySize: formerOptional(before.CompanySize, after.CompanySize),
	}
}

// formerSubscription is what of the subscription has changed, as it was. Times are
// compared as they are told.
func formerSubscription(before, after Organization) event.FormerSubscription {
	was, is := before.payload(), after.payload()
	return event.FormerSubscription{
		SubscriptionTier: former(was.SubscriptionTier, is.SubscriptionTier), SubscriptionStatus: former(was.SubscriptionStatus, is.SubscriptionStatus),
		MaxUsers: former(was.MaxUsers, is.MaxUsers), TrialEndDate: formerOptional(was.TrialEndDate, is.TrialEndDate),
	}
}

// formerUser is what of a user has changed, as it was.
func formerUser(before, after User) event.FormerMember {
	return event.FormerMember{
		Email: former(before.Email, after.Email), FullName: former(before.FullName, after.FullName), Role: former(before.Role, after.Role),
	}
}

// former is a value that has changed, nil for one that has not.
func former[T comparable](before, after T) *T {
	if before == after {
		return nil
	}
	return &before
}

// formerOptional is the same for a value that may be null, which it may have been.
func formerOptional[T comparable](before, after *T) **T {
	if before == after || before != nil && after != nil && *before == *after {
		return nil
	}
	return &before
}
