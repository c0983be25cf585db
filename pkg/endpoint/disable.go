package endpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Disabled is an endpoint that has been switched off.
type Disabled struct {
	ID             uuid.UUID  `db:"id"`
	Name           string     `db:"name"`
	URL            string     `db:"url"`
	OrganizationID *uuid.UUID `db:"organization_id"`
	Reason         string     `db:"disabled_reason"`
	At             time.Time  `db:"disabled_at"`
	FailingSince   *time.Time `db:"failing_since"`
}

// disable locks the rows in the order of their ids, so that dispatchers cannot
// deadlock.
const disable = `
WITH off AS (
    SELECT e.id
    FROM sonicus.endpoints e
    WHERE e.id = ANY ($1::uuid[]) AND e.is_active AND e.deleted_at IS NULL
    ORDER BY e.id
    FOR NO KEY UPDATE
)
UPDATE sonicus.endpoints e
SET is_active = false, disabled_reason = $2, disabled_at = now()
FROM off
WHERE e.id = off.id
RETURNING e.id, e.name, e.url, e.organization_id, e.disabled_reason, e.disabled_at,
          (SELECT l.failing_since FROM sonicus.lanes l WHERE l.endpoint_id = e.id) AS failing_since`

// Disable switches endpoints off and returns those that were active. What is
// queued for them stays and waits.
func Disable(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, reason string) ([]Disabled, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var off []Disabled
	if err := tx.SelectContext(ctx, &off, disable, pq.Array(ids), reason); err != nil {
		return nil, fmt.Errorf("disable %d endpoints: %w", len(ids), err)
	}
	return off, nil
}
