package organization

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/problem"
)

// What a user may be in the organization.
const (
	roleAdmin  = "admin"
	roleMember = "member"
)

// NewUser is a user to be added to an organization.
type NewUser struct {
	Email    string  // bare address, up to 254 bytes; unique within the organization, whatever its case
	FullName string  // 1 to 200 characters
	Role     *string // admin or member; nil: member
}

// User is a row of the table users. Times are UTC.
type User struct {
	ID             uuid.UUID `db:"id"`
	OrganizationID uuid.UUID `db:"organization_id"`
	Email          string    `db:"email"` // unique within the organization, whatever its case
	FullName       string    `db:"full_name"`
	Role           string    `db:"role"` // admin or member
	CreatedAt      time.Time `db:"created_at"`
	UpdatedAt      time.Time `db:"updated_at"`
}

// Version is another one after each change.
func (u User) Version() int64 { return u.UpdatedAt.UnixMicro() }

// check reports every field that is wrong. No clock, no I/O.
func (n NewUser) check() (found []problem.Field) {
	found = checkPerson("", n.Email, n.FullName)
	if n.Role != nil && *n.Role != roleAdmin && *n.Role != roleMember {
		found = append(found, wrong("role", "invalid_role", "use "+roleAdmin+" or "+roleMember)...)
	}
	return found
}

// checkPerson puts path before the names of the fields.
func checkPerson(path, email, fullName string) []problem.Field {
	return slices.Concat(checkEmail(path+"email", email), endpoint.CheckText(path+"full_name", fullName, maxName))
}

// introduced is the user as the event of an onboarding carries it.
func (u User) introduced() *event.User {
	return &event.User{ID: u.ID, Email: u.Email, FullName: u.FullName}
}

// payload is the user as all other events carry it.
func (u User) payload() event.Member {
	return event.Member{
		ID: u.ID, OrganizationID: u.OrganizationID, Email: u.Email, FullName: u.FullName, Role: u.Role, CreatedAt: event.Timestamp(u.CreatedAt),
	}
}

// change is what the audit trail tells of a user.
func (u User) change(action string, before, after any) access.Change {
	return access.Change{Action: action, ObjectType: "user", ObjectID: u.ID, Before: before, After: after}
}

// inUTC changes the zone of what the driver read, not the instants.
func (u User) inUTC() User {
	u.CreatedAt, u.UpdatedAt = u.CreatedAt.UTC(), u.UpdatedAt.UTC()
	return u
}
