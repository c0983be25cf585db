package event

import (
	"time"

	"github.com/google/uuid"
)

// What can become of a user. The first one of an onboarding comes with its
// [OrganizationCreated], and all go with their [OrganizationDeleted]: neither is told
// once more.
const (
	UserCreated = "user.created"
	UserUpdated = "user.updated"
	UserDeleted = "user.deleted"
)

// Member is data.user of a payload. Like that of all business events, its payload has
// the organization too, where receivers and filters look for it.
type Member struct {
	ID             uuid.UUID `json:"id"`
	OrganizationID uuid.UUID `json:"organization_id"`
	Email          string    `json:"email"`
	FullName       string    `json:"full_name"`
	Role           string    `json:"role" enum:"admin,member"`
	CreatedAt      Timestamp `json:"created_at"`
}

// FormerMember is to a user what [FormerOrganization] is to an organization.
type FormerMember struct {
	Email    *string `json:"email,omitempty"`
	FullName *string `json:"full_name,omitempty"`
	Role     *string `json:"role,omitempty" enum:"admin,member"`
}

type userCreated struct {
	Organization Organization `json:"organization"`
	User         Member       `json:"user"`
}

type userUpdated struct {
	Organization Organization `json:"organization"`
	User         Member       `json:"user"`
	Previous     FormerMember `json:"previous" doc:"What the values that have changed were before; the others are left out."`
}

type userDeleted struct {
	Organization Organization `json:"organization"`
	User         Member       `json:"user" doc:"As it was."`
}

// NewUserCreated makes the event of a new user of org.
func NewUserCreated(id uuid.UUID, at time.Time, org Organization, user Member) (Envelope, error) {
	return seal(UserCreated, id, &org.ID, at, userCreated{Organization: org, User: user})
}

// NewUserUpdated makes the event of a user of org that is now user.
func NewUserUpdated(id uuid.UUID, at time.Time, org Organization, user Member, previous FormerMember) (Envelope, error) {
	return seal(UserUpdated, id, &org.ID, at, userUpdated{Organization: org, User: user, Previous: previous})
}

// NewUserDeleted makes the event of a user of org that was user.
func NewUserDeleted(id uuid.UUID, at time.Time, org Organization, user Member) (Envelope, error) {
	return seal(UserDeleted, id, &org.ID, at, userDeleted{Organization: org, User: user})
}
