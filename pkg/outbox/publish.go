package outbox

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// publish writes the event, one delivery per endpoint that matches now, and the
// queue rows. The ids follow from the event, so a second run writes nothing.
// due_at is the clock's, not the transaction's: due times must not tie.
const publish = `
WITH matched AS (
    SELECT e.id AS endpoint_id, e.max_retries
    FROM sonicus.endpoints e
    WHERE e.is_active AND e.deleted_at IS NULL
      AND (e.organization_id IS NULL OR e.organization_id = $3)
      AND e.events @> ANY ($6::jsonb[])
), published AS (
    INSERT INTO sonicus.events (id, event_type, organization_id, payload, created_at, fanout)
    VALUES ($1, $2, $3, $4, $5, (SELECT count(*) FROM matched))
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), written AS (
    INSERT INTO sonicus.deliveries (id, event_id, endpoint_id, event_type, max_attempts, created_at)
    SELECT sonicus.delivery_id(p.id, m.endpoint_id, 1), p.id, m.endpoint_id, $2, 1 + m.max_retries, $5
    FROM published p, matched m
    RETURNING id, endpoint_id
)
INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at)
SELECT id, endpoint_id, clock_timestamp() FROM written`

// Publish writes ev and a pending delivery for every active endpoint subscribed
// to it. They become visible to the dispatchers when tx commits, and never if it
// does not. It returns how many deliveries it wrote; publishing the same event
// again writes none.
func Publish(ctx context.Context, tx *sqlx.Tx, ev event.Envelope) (int, error) {
	res, err := tx.ExecContext(ctx, publish, ev.ID, ev.Type, ev.OrganizationID, postgres.JSON(ev.Payload), ev.Time, patterns(ev.Type))
	if err != nil {
		return 0, fmt.Errorf("publish %s: %w", ev.Type, err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// patterns renders the patterns that match an event type as JSON strings.
func patterns(eventType string) pq.StringArray {
	all := event.Patterns(eventType)
	for i, p := range all {
		quoted, _ := json.Marshal(p) // a string always encodes
		all[i] = string(quoted)
	}
	return all
}
