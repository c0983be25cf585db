// Package access owns who may use the API: bearer keys and JWTs, the roles behind
// them, and the audit trail of what is done with them. A key is 256 random bits; only
// its SHA-256 is stored, so neither the database nor a backup of it lets anyone in.
package access

import "github.com/google/uuid"

// Role says what a caller may do.
type Role string

// The roles. A super admin may do all that an admin may, and manages webhooks and
// keys; an admin may do all that a viewer may, which is to look.
const (
	SuperAdmin Role = "super_admin"
	Admin      Role = "admin"
	Viewer     Role = "viewer"
)

// Roles lists the roles that a key can have, the mightiest first.
func Roles() []Role { return []Role{SuperAdmin, Admin, Viewer} }

// Allows says whether a caller of this role may do what requires the other.
// A role that does not exist allows nothing, and nothing allows it.
func (r Role) Allows(required Role) bool {
	return required.rank() > 0 && r.rank() >= required.rank()
}

func (r Role) rank() int {
	switch r {
	case SuperAdmin:
		return 3
	case Admin:
		return 2
	case Viewer:
		return 1
	default:
		return 0
	}
}

// Principal is a caller that has proven who it is.
type Principal struct {
	KeyID uuid.UUID // uuid.Nil for the bootstrap key and for JWTs
	Name  string    // what or whom the key is for, or the subject of the JWT
	Role  Role
}

// Caller names who it is, so that no two have one name: a key by its id, all others
// by theirs. JWTs have no names that the service uses itself.
func (p Principal) Caller() string {
	if p.KeyID != uuid.Nil {
		return "key:" + p.KeyID.String()
	}
	return "name:" + p.Name
}
