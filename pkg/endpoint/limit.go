package endpoint

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/problem"
)

// maxConcerned is how many endpoints one event may concern: those of all
// organizations and those of its own. Every one of them is a delivery in the
// transaction that publishes, so that without a bound creates would get slower and
// slower.
const maxConcerned = 1000

// concerned counts them for the events of an organization, or, for an endpoint of all
// organizations, for those of the one that has the most.
const concerned = `
SELECT (SELECT count(*) FROM sonicus.endpoints WHERE deleted_at IS NULL AND organization_id IS NULL)
     + (SELECT coalesce(max(n), 0)
        FROM (SELECT count(*) AS n FROM sonicus.endpoints
              WHERE deleted_at IS NULL AND organization_id IS NOT NULL AND ($1::uuid IS NULL OR organization_id = $1)
              GROUP BY organization_id) own)`

// checkRoom is for an endpoint that is about to be written. It is a problem of kind
// Conflict (endpoint_limit) when there are enough. Nobody is locked for it: those
// written at the same moment may go a little beyond.
func checkRoom(ctx context.Context, tx *sqlx.Tx, organization *uuid.UUID) error {
	var n int
	if err := tx.GetContext(ctx, &n, concerned, organization); err != nil {
		return fmt.Errorf("count endpoints: %w", err)
	}
	if n < maxConcerned {
		return nil
	}
	return problem.Conflict("endpoint_limit", "", fmt.Sprintf(
		"An event would concern more than %d endpoints, those of all organizations and its own organization's together. Delete what is not needed.", maxConcerned))
}
