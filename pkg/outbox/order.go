package outbox

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// turns makes transactions wait for each other.
const turns = `SELECT pg_advisory_xact_lock(hashtextextended(o::text, 6)) FROM unnest($1::uuid[]) AS o`

// takeTurns lets only one transaction at a time add to, or take from, the ordered
// streams of an organization. The statement that looks at a stream comes after it,
// so that it sees what the one before has committed: inside one statement the
// snapshot would be older than the wait.
//
// Everyone takes the turns in the order of the organizations' ids, and before any
// lock on a row that others wait for, so nobody can deadlock.
func takeTurns(ctx context.Context, tx *sqlx.Tx, organizations ...uuid.UUID) error {
	slices.SortFunc(organizations, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	_, err := tx.ExecContext(ctx, turns, pq.Array(slices.Compact(organizations)))
	if err != nil {
		return fmt.Errorf("take turns: %w", err)
	}
	return nil
}

// ofStreams lists the organizations of results that end a delivery of a stream.
func ofStreams(results []Result) (organizations []uuid.UUID) {
	for _, r := range results {
		if r.OrganizationID.Valid && r.Status != Retrying {
			organizations = append(organizations, r.OrganizationID.UUID)
		}
	}
	return organizations
}

// promote makes the first of each stream due, if it was waiting for the one before
// it. It is a statement of its own, to see the queue without that one.
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
RETURNING q.endpoint_id, false AS retry, q.due_at AS since`

// Promote lets the next delivery go in every ordered stream of which one has just
// been settled, in the same transaction. It returns the lanes that have
// something due by that. Results that are not part of a stream are ignored.
func Promote(ctx context.Context, tx *sqlx.Tx, settled []Result) ([]Work, error) {
	var endpoints, organizations pq.StringArray
	for _, r := range settled {
		if r.OrganizationID.Valid && r.Status != Retrying {
			endpoints, organizations = append(endpoints, r.EndpointID.String()), append(organizations, r.OrganizationID.UUID.String())
		}
	}
	if len(endpoints) == 0 {
		return nil, nil
	}
	var due []Work
	if err := tx.SelectContext(ctx, &due, promote, endpoints, organizations); err != nil {
		return nil, fmt.Errorf("promote: %w", err)
	}
	return due, nil
}
