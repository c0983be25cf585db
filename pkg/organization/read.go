package organization

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

const columns = `id, name, display_name, domain, primary_contact_email, subscription_tier, subscription_status, max_users, industry,
	company_size, created_at, trial_end_date, updated_at`

// Get returns one organization; one that does not exist or is deleted is a problem of
// kind NotFound.
func (s *Store) Get(ctx context.Context, id uuid.UUID) (Organization, error) {
	var o Organization
	err := s.db.GetContext(ctx, &o, `SELECT `+columns+` FROM sonicus.organizations WHERE id = $1 AND deleted_at IS NULL`, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return Organization{}, problem.NotFound("organization")
	}
	if err != nil {
		return Organization{}, explain("get organization", "", err)
	}
	return o.inUTC(), nil
}

// Filter says which organizations a list shows; the zero value: all.
type Filter struct {
	Domain string // the one that has it, as [CheckDomain] returns it
}

const list = `SELECT ` + columns + ` FROM sonicus.organizations
WHERE id < $1 AND deleted_at IS NULL AND ($3 = '' OR domain = $3)
ORDER BY id DESC LIMIT $2`

// List returns up to limit organizations, the newest first, with ids below
// before; uuid.Nil begins with the newest.
func (s *Store) List(ctx context.Context, f Filter, limit int, before uuid.UUID) ([]Organization, error) {
	if before == uuid.Nil {
		before = uuid.Max
	}
	all := []Organization{}
	if err := s.db.SelectContext(ctx, &all, list, before, limit, f.Domain); err != nil {
		return nil, explain("list organizations", "", err)
	}
	for i, o := range all {
		all[i] = o.inUTC()
	}
	return all, nil
}

const userColumns = `u.id, u.organization_id, u.email, u.full_name, u.role, u.created_at, u.updated_at`

// A user of an organization that is deleted is gone with it.
const (
	oneUser  = `SELECT ` + userColumns + ` FROM sonicus.users u WHERE u.organization_id = $1 AND u.id = $2`
	allUsers = `SELECT ` + userColumns + ` FROM sonicus.users u WHERE u.organization_id = $1 AND u.id < $2 ORDER BY u.organization_id DESC, u.id DESC LIMIT $3`
)

// GetUser returns one user of an organization; one that does not exist, or belongs to
// another, is a problem of kind NotFound.
func (s *Store) GetUser(ctx context.Context, organization, id uuid.UUID) (User, error) {
	var u User
	err := s.db.GetContext(ctx, &u, oneUser, organization, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return User{}, problem.NotFound("user")
	}
	if err != nil {
		return User{}, explain("get user", "", err)
	}
	return u.inUTC(), nil
}

// ListUsers returns up to limit users of an organization, the newest first, with ids
// below before; uuid.Nil begins with the newest. An organization that does not exist is
// a problem of kind NotFound.
func (s *Store) ListUsers(ctx context.Context, organization uuid.UUID, limit int, before uuid.UUID) ([]User, error) {
	if _, err := s.Get(ctx, organization); err != nil {
		return nil, err
	}
	if before == uuid.Nil {
		before = uuid.Max
	}
	all := []User{}
	if err := s.db.SelectContext(ctx, &all, allUsers, organization, before, limit); err != nil {
		return nil, explain("list users", "", err)
	}
	for i, u := range all {
		all[i] = u.inUTC()
	}
	return all, nil
}
