package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// claim walks the endpoints that have queue rows, from $1 on, one index probe
// per endpoint, and takes from each lane at most its free slots. No lane can
// starve another, and a deep lane costs no more than a shallow one. The LATERAL
// sub-queries with their LIMIT keep the walk in order, which the round robin
// needs, and stop it as soon as $4 rows are found.
const claim = `
WITH RECURSIVE lane(endpoint_id) AS (
    (SELECT q.endpoint_id FROM sonicus.queue q WHERE q.endpoint_id > $1 ORDER BY q.endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT q.endpoint_id FROM sonicus.queue q WHERE q.endpoint_id > lane.endpoint_id ORDER BY q.endpoint_id LIMIT 1)
    FROM lane
    WHERE lane.endpoint_id IS NOT NULL
), due AS (
    SELECT row.at, e.lease
    FROM lane
    CROSS JOIN LATERAL (
        SELECT make_interval(secs => e.timeout_seconds) + $6 * interval '1 second' AS lease,
               least($3, e.max_concurrency) - coalesce(($2::jsonb ->> e.id::text)::integer, 0) AS free
        FROM sonicus.endpoints e
        WHERE e.id = lane.endpoint_id AND e.is_active AND e.paused_at IS NULL AND e.deleted_at IS NULL
        LIMIT 1
    ) e
    CROSS JOIN LATERAL (
        SELECT q.ctid AS at
        FROM sonicus.queue q
        WHERE q.endpoint_id = lane.endpoint_id AND q.due_at <= now()
        ORDER BY q.due_at
        LIMIT greatest(e.free, 0)
        FOR UPDATE SKIP LOCKED
    ) row
    LIMIT $4
), leased AS (
    UPDATE sonicus.queue q
    SET due_at = clock_timestamp() + due.lease, lease_token = $5
    FROM due
    WHERE q.ctid = due.at
    RETURNING q.delivery_id, q.endpoint_id
)
SELECT l.delivery_id, l.endpoint_id,
       d.event_id, d.event_type, d.attempt_count, d.max_attempts, v.payload, v.created_at AS event_time,
       e.url, e.timeout_seconds, least($3, e.max_concurrency) AS in_flight_limit, coalesce(e.secret, '') AS secret,
       CASE WHEN e.previous_secret_expires_at > now() THEN coalesce(e.previous_secret, '') ELSE '' END AS previous_secret
FROM leased l
CROSS JOIN LATERAL (SELECT * FROM sonicus.deliveries d WHERE d.id = l.delivery_id LIMIT 1) d
CROSS JOIN LATERAL (SELECT * FROM sonicus.events v WHERE v.id = d.event_id LIMIT 1) v
CROSS JOIN LATERAL (SELECT * FROM sonicus.endpoints e WHERE e.id = l.endpoint_id LIMIT 1) e`

// Room says how much a dispatcher can take on.
type Room struct {
	Total       int               // deliveries
	PerEndpoint int               // deliveries in flight per endpoint
	InFlight    map[uuid.UUID]int // deliveries in flight now, by endpoint
}

// Claim takes due deliveries under a lease, in one short transaction. It begins
// at the endpoint after the one that cursor names, and returns the cursor to go
// on from; [uuid.Nil] means that every endpoint has had its turn.
func Claim(ctx context.Context, db *sqlx.DB, room Room, cursor uuid.UUID) ([]Claimed, uuid.UUID, error) {
	busy, err := json.Marshal(room.InFlight)
	if err != nil {
		return nil, cursor, err
	}
	token := rand.Int64() //nolint:gosec // a fence must be distinct, not secret
	began := time.Now()
	var taken []Claimed
	err = postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		return tx.SelectContext(ctx, &taken, claim, cursor, postgres.JSON(busy), room.PerEndpoint, room.Total, token, LeaseMargin.Seconds())
	})
	if err != nil {
		return nil, cursor, fmt.Errorf("claim: %w", err)
	}
	next := uuid.Nil
	for i := range taken {
		taken[i].Token, taken[i].leaseAt = token, began
		if len(taken) == room.Total && taken[i].EndpointID.String() > next.String() {
			next = taken[i].EndpointID
		}
	}
	return taken, next, nil
}
