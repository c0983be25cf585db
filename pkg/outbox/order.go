package outbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// promote makes the first of each stream due, if it was waiting for the one
// before it. It is a statement of its own, after the one that took that one away:
// a publisher holds a lock on its predecessor until it has committed, so what it
// has written is in this statement's snapshot, and not in the earlier one's.
const promote = `
UPDATE sonicus.queue q
SET due_at = clock_timestamp()
FROM (
    SELECT s.endpoint_id, s.organization_id,
           (SELECT min(p.position) FROM sonicus.queue p WHERE p.endpoint_id = s.endpoint_id AND p.organization_id = s.organization_id
                                                          AND p.position IS NOT NULL) AS position
    FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) AS s (endpoint_id, organization_id)) s
) first
WHERE q.endpoint_id = first.endpoint_id AND q.organization_id = first.organization_id AND q.position = first.position AND q.due_at IS NULL
RETURNING q.endpoint_id`

// Promote lets the next delivery go in every ordered stream of which one has just
// been settled, in the same transaction. It returns the endpoints that have
// something due by that. Results that are not part of a stream are ignored.
func Promote(ctx context.Context, tx *sqlx.Tx, settled []Result) ([]uuid.UUID, error) {
	var endpoints, organizations pq.StringArray
	for _, r := range settled {
		if r.OrganizationID.Valid && r.Status != Retrying {
			endpoints, organizations = append(endpoints, r.EndpointID.String()), append(organizations, r.OrganizationID.UUID.String())
		}
	}
	if len(endpoints) == 0 {
		return nil, nil
	}
	var due []uuid.UUID
	if err := tx.SelectContext(ctx, &due, promote, endpoints, organizations); err != nil {
		return nil, fmt.Errorf("promote: %w", err)
	}
	return due, nil
}
