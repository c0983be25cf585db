package organization

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/problem"
)

const (
	maxName     = 200 // characters
	maxIndustry = 100 // characters
	maxSlug     = 50  // characters
	maxSize     = 20  // characters

	defaultUsers  = 10
	defaultTier   = "starter"
	defaultStatus = "active"
)

// MaxUsers is which numbers of users an organization can be limited to.
var MaxUsers = endpoint.Range{Low: 1, High: 1_000_000}

// statuses are the states that a subscription can have.
var statuses = []string{"trial", "trialing", "active", "past_due", "suspended", "canceled", "expired", "inactive"}

var (
	slug  = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	sizes = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})(?:\+|-(0|[1-9][0-9]{0,8}))?$`)
)

// check is the organization that n asks for, with its defaults but without what
// the transaction gives it, and every field that is wrong. No clock, no I/O.
func (n New) check() (Organization, []problem.Field) {
	domain, found := CheckDomain(n.Domain)
	found = slices.Concat(endpoint.CheckText("name", n.Name, maxName), endpoint.CheckOptionalText("display_name", n.DisplayName, maxName),
		found, checkEmail("primary_contact_email", n.PrimaryContactEmail), checkTier(n.SubscriptionTier), checkStatus(n.SubscriptionStatus),
		endpoint.CheckRange("max_users", n.MaxUsers, MaxUsers), endpoint.CheckOptionalText("industry", n.Industry, maxIndustry), checkSize(n.CompanySize),
		checkTrialEnd(n.TrialEndDate))
	return Organization{
		Name: n.Name, DisplayName: valueOr(n.DisplayName, n.Name), Domain: domain, PrimaryContactEmail: n.PrimaryContactEmail,
		SubscriptionTier: valueOr(n.SubscriptionTier, defaultTier), SubscriptionStatus: valueOr(n.SubscriptionStatus, defaultStatus),
		MaxUsers: valueOr(n.MaxUsers, defaultUsers), Industry: n.Industry, CompanySize: n.CompanySize, TrialEndDate: instant(n.TrialEndDate),
	}, found
}

func (a AdminUser) check() []problem.Field {
	return checkPerson("admin_user.", a.Email, a.FullName)
}

func checkTier(tier *string) []problem.Field {
	if found := endpoint.CheckOptionalText("subscription_tier", tier, maxSlug); tier == nil || found != nil {
		return found
	}
	if !slug.MatchString(*tier) {
		return wrong("subscription_tier", "invalid_tier", "use lower-case letters, digits, - and _, beginning with a letter, such as premium")
	}
	return nil
}

func checkStatus(status *string) []problem.Field {
	if status == nil || slices.Contains(statuses, *status) {
		return nil
	}
	return wrong("subscription_status", "invalid_status", "use one of "+strings.Join(statuses, ", "))
}

func checkSize(size *string) []problem.Field {
	if found := endpoint.CheckOptionalText("company_size", size, maxSize); size == nil || found != nil {
		return found
	}
	part := sizes.FindStringSubmatch(*size)
	if part == nil {
		return wrong("company_size", "invalid_range", "use a range of heads such as 50-100, 1000+ or 1, without separators")
	}
	low, _ := strconv.Atoi(part[1]) // at most nine digits
	if high, err := strconv.Atoi(part[2]); err == nil && low > high {
		return wrong("company_size", "invalid_range", "put the smaller number first, such as 50-100")
	}
	return nil
}

// checkTrialEnd keeps to the years that a payload's timestamp can show.
func checkTrialEnd(at *time.Time) []problem.Field {
	if at == nil || (at.UTC().Year() >= 1 && at.UTC().Year() <= 9999) {
		return nil
	}
	return wrong("trial_end_date", "out_of_range", "use an instant in the years 1 to 9999 (UTC)")
}

// instant is what the database can hold of a time.
func instant(at *time.Time) *time.Time {
	if at == nil {
		return nil
	}
	t := at.UTC().Truncate(time.Microsecond)
	return &t
}

func valueOr[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

func wrong(field, code, detail string) []problem.Field {
	return []problem.Field{{Field: field, Code: code, Detail: detail}}
}
