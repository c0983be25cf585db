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

// Get returns one organization; one that does not exist is a problem of kind
// NotFound.
func (s *Store) Get(ctx context.Context, id uuid.UUID) (Organization, error) {
	var o Organization
	err := s.db.GetContext(ctx, &o, `SELECT `+columns+` FROM sonicus.organizations WHERE id = $1`, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return Organization{}, problem.NotFound("organization")
	}
	if err != nil {
		return Organization{}, explain("get organization", err)
	}
	return o.inUTC(), nil
}

// List returns up to limit organizations, the newest first, with ids below
// before; uuid.Nil begins with the newest.
func (s *Store) List(ctx context.Context, limit int, before uuid.UUID) ([]Organization, error) {
	if before == uuid.Nil {
		before = uuid.Max
	}
	all := []Organization{}
	err := s.db.SelectContext(ctx, &all, `SELECT `+columns+` FROM sonicus.organizations WHERE id < $1 ORDER BY id DESC LIMIT $2`, before, limit)
	if err != nil {
		return nil, explain("list organizations", err)
	}
	for i, o := range all {
		all[i] = o.inUTC()
	}
	return all, nil
}
