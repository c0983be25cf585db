package endpoint

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Name is how people know an endpoint.
type Name struct {
	ID             uuid.UUID  `db:"id"`
	Name           string     `db:"name"`
	URL            string     `db:"url"`
	OrganizationID *uuid.UUID `db:"organization_id"`
	IsActive       bool       `db:"is_active"` // and not deleted
}

// Names reads the names of endpoints, also of those that are deleted.
func Names(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) (map[uuid.UUID]Name, error) {
	var all []Name
	err := tx.SelectContext(ctx, &all, `
		SELECT e.id, e.name, e.url, e.organization_id, e.is_active AND e.deleted_at IS NULL AS is_active
		FROM sonicus.endpoints e WHERE e.id = ANY ($1::uuid[])`, pq.Array(ids))
	if err != nil {
		return nil, fmt.Errorf("read names of %d endpoints: %w", len(ids), err)
	}
	byID := make(map[uuid.UUID]Name, len(all))
	for _, n := range all {
		byID[n.ID] = n
	}
	return byID, nil
}
