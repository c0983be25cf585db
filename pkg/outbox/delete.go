package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// EndpointDeleted is the failure reason of deliveries whose endpoint was deleted
// before they were sent.
const EndpointDeleted = "endpoint_deleted"

// abandonAtOnce bounds what one transaction ends: some tens of milliseconds.
const abandonAtOnce = 1000

const deserted = walk + `
SELECT lane.endpoint_id, lane.retry
FROM lane
JOIN sonicus.endpoints e ON e.id = lane.endpoint_id
WHERE e.deleted_at IS NOT NULL`

// Deserted finds the lanes that have something queued for an endpoint that is
// deleted. No claim looks at them. It costs what a [Sweep] does. Until an endpoint
// has been deleted for longer than any transaction lasts, they can fill again: an
// event that was being published meanwhile is committed later.
func Deserted(ctx context.Context, db *sqlx.DB) ([]Lane, error) {
	var lanes []Lane
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		return tx.SelectContext(ctx, &lanes, deserted)
	})
	if err != nil {
		return nil, fmt.Errorf("find deserted lanes: %w", err)
	}
	return lanes, nil
}

// abandonable is what is not under a lease: that is left to whoever holds it.
const abandonable = `
SELECT q.delivery_id
FROM sonicus.queue q
WHERE q.retry = $2 AND q.endpoint_id = $1 AND (q.lease_until IS NULL OR q.lease_until <= statement_timestamp())
  AND EXISTS (SELECT FROM sonicus.endpoints e WHERE e.id = $1 AND e.deleted_at IS NOT NULL)
LIMIT $3
FOR UPDATE OF q SKIP LOCKED`

// Abandon ends up to a thousand deliveries of a deserted lane as failed, with the
// reason [EndpointDeleted], in one short transaction, and returns how many. 0 says
// that none is left but those in flight, which [Settle] ends. Any number of
// dispatchers may do this together.
func Abandon(ctx context.Context, db *sqlx.DB, lane Lane) (int, error) {
	var ids []uuid.UUID
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		if err := tx.SelectContext(ctx, &ids, abandonable, lane.EndpointID, lane.Retry, abandonAtOnce); err != nil || len(ids) == 0 {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM sonicus.queue WHERE delivery_id = ANY ($1::uuid[])`, pq.Array(ids)); err != nil {
			return err
		}
		return giveUp(ctx, tx, lane.EndpointID, ids, EndpointDeleted)
	})
	if err != nil {
		return 0, fmt.Errorf("abandon deliveries: %w", err)
	}
	return len(ids), nil
}

// abandonRetries turns results that want another attempt into the end of their
// delivery, where the endpoint has been deleted since the claim.
func abandonRetries(ctx context.Context, tx *sqlx.Tx, results []Result) error {
	var endpoints []uuid.UUID
	for _, r := range results {
		if r.Status == Retrying && !slices.Contains(endpoints, r.EndpointID) {
			endpoints = append(endpoints, r.EndpointID)
		}
	}
	if len(endpoints) == 0 {
		return nil
	}
	var deleted []uuid.UUID
	err := tx.SelectContext(ctx, &deleted, `SELECT e.id FROM sonicus.endpoints e WHERE e.id = ANY ($1::uuid[]) AND e.deleted_at IS NOT NULL`, pq.Array(endpoints))
	if err != nil {
		return fmt.Errorf("look for deleted endpoints: %w", err)
	}
	for i, r := range results {
		if r.Status == Retrying && slices.Contains(deleted, r.EndpointID) {
			results[i].Status, results[i].FailureReason, results[i].RetryIn = Failed, EndpointDeleted, 0
		}
	}
	return nil
}
