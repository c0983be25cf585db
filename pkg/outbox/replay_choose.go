package outbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// lookMost bounds how many rows one statement of a step looks at: some milliseconds.
const lookMost = 4000

// remade is a delivery that a replay makes. Source is what it is made of: the newest
// delivery so far, or the event, and how far the replay is when it is made.
type remade struct {
	Source         uuid.UUID  `db:"source"`
	ID             uuid.UUID  `db:"id"`
	EventID        uuid.UUID  `db:"event_id"`
	EndpointID     uuid.UUID  `db:"endpoint_id"`
	EventType      string     `db:"event_type"`
	Generation     int        `db:"generation"`
	MaxAttempts    int        `db:"max_attempts"`
	OrganizationID *uuid.UUID `db:"organization_id"` // set when the organization's deliveries go one after another
}

// stream is the organization of an event whose endpoint wants an order.
const stream = `CASE WHEN e.ordering = 'organization' AND v.event_type NOT LIKE 'webhook.%' THEN v.organization_id END AS organization_id`

// choose takes the next of what a source has looked at: those that match, and how far
// it has looked. The newest delivery is the one without a successor.
func choose(source, chosen string) string {
	return `
WITH looked AS MATERIALIZED (` + source + `
), chosen AS MATERIALIZED (` + chosen + `
    LIMIT $9
)
SELECT c.source, c.id, c.event_id, c.endpoint_id, coalesce(c.event_type, '') AS event_type, coalesce(c.generation, 0) AS generation,
       coalesce(c.max_attempts, 0) AS max_attempts, c.organization_id, s.looked, s.edge
FROM (SELECT (SELECT count(*) FROM looked) AS looked, (SELECT l.id FROM looked l ORDER BY l.id DESC LIMIT 1) AS edge) s
LEFT JOIN (SELECT c.*, sonicus.delivery_id(c.event_id, c.endpoint_id, c.generation) AS id FROM chosen c) c ON true
ORDER BY c.source`
}

// The sources look at all deliveries, at those of one endpoint, and at events, each in
// the order of the ids. The second spells the endpoint out as a part of a row, or the
// planner might walk through the deliveries of all endpoints to find those of one.
const (
	ofAll = `
    SELECT d.id, d.event_id, d.endpoint_id, d.event_type, d.generation, d.status, d.created_at
    FROM sonicus.deliveries d WHERE d.id > $2 AND d.id < $3 AND $1::uuid IS NULL ORDER BY d.id LIMIT $8`
	ofEndpoint = `
    SELECT d.id, d.event_id, d.endpoint_id, d.event_type, d.generation, d.status, d.created_at
    FROM sonicus.deliveries d
    WHERE (d.endpoint_id, d.id) > ($1::uuid, $2::uuid) AND (d.endpoint_id, d.id) < ($1::uuid, $3::uuid) AND d.id > $2 AND d.id < $3
    ORDER BY d.endpoint_id, d.id LIMIT $8`
	ofEvents = `
    SELECT v.id FROM sonicus.events v WHERE v.id > $2 AND v.id < $3 ORDER BY v.id LIMIT $8`

	newest = `
    SELECT d.id AS source, d.event_id, d.endpoint_id, d.event_type, d.generation + 1 AS generation, 1 + e.max_retries AS max_attempts, v.organization_id
    FROM looked d
    JOIN sonicus.endpoints e ON e.id = d.endpoint_id
    CROSS JOIN LATERAL (SELECT v.test, ` + stream + ` FROM sonicus.events v WHERE v.id = d.event_id LIMIT 1) v
    WHERE NOT v.test AND ` + replayable + `
      AND NOT EXISTS (SELECT FROM sonicus.deliveries n WHERE n.id = sonicus.delivery_id(d.event_id, d.endpoint_id, d.generation + 1))
    ORDER BY d.id`
	never = `
    SELECT v.id AS source, v.id AS event_id, e.id AS endpoint_id, v.event_type, 2 AS generation, 1 + e.max_retries AS max_attempts, ` + stream + `
    FROM looked l
    CROSS JOIN LATERAL (SELECT * FROM sonicus.events v WHERE v.id = l.id LIMIT 1) v
    JOIN sonicus.endpoints e ON e.id = $1` + matching + `
    WHERE ` + missed + `
      AND NOT EXISTS (SELECT FROM sonicus.deliveries d WHERE d.id = sonicus.delivery_id(v.id, e.id, 1))
      AND NOT EXISTS (SELECT FROM sonicus.deliveries d WHERE d.id = sonicus.delivery_id(v.id, e.id, 2))
    ORDER BY v.id`
)

func (r Replay) chooser() string {
	switch {
	case r.Mode == ReplayMissing:
		return choose(ofEvents, never)
	case r.EndpointID != nil:
		return choose(ofEndpoint, newest)
	default:
		return choose(ofAll, newest)
	}
}

// found is what one look has brought.
type found struct {
	chosen   []remade
	position uuid.UUID // what is up to here is looked at
	all      bool      // there is nothing beyond
}

// next chooses up to most deliveries, and looks further and further for them as long
// as there are fewer.
func (r Replay) next(ctx context.Context, tx *sqlx.Tx, most int) (found, error) {
	for look := 4 * most; ; look *= 4 {
		look = min(look, lookMost)
		f, err := r.look(ctx, tx, most, look)
		if err != nil || f.all || len(f.chosen) > 0 || look == lookMost {
			return f, err
		}
		r.Position = f.position
	}
}

func (r Replay) look(ctx context.Context, tx *sqlx.Tx, most, look int) (found, error) {
	var rows []struct {
		remade
		Looked int        `db:"looked"`
		Edge   *uuid.UUID `db:"edge"`
	}
	if err := tx.SelectContext(ctx, &rows, r.chooser(), append(r.arguments(), look, most)...); err != nil {
		return found{}, fmt.Errorf("choose: %w", err)
	}
	f := found{position: r.Position, all: rows[0].Looked < look}
	if rows[0].Edge != nil {
		f.position = *rows[0].Edge
	}
	for _, row := range rows {
		if row.ID != uuid.Nil {
			f.chosen = append(f.chosen, row.remade)
		}
	}
	if len(f.chosen) == most { // there may be more of it before the edge
		f.position, f.all = f.chosen[most-1].Source, false
	}
	return f, nil
}
