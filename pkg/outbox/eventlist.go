package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// EventFilter says which events are wanted: those that match all that is set.
type EventFilter struct {
	EventType      *string
	OrganizationID *uuid.UUID
	Since          *time.Time // from then on, to the millisecond
	Until          *time.Time // before then, to the millisecond
}

// events gives those with ids below $1 and from $2 on, at most $3, in the order of the
// list. No index tells the type or the organization: it would cost every event, and is
// needed only by people.
const events = `SELECT v.* FROM sonicus.events v WHERE v.id < $1 AND v.id >= $2 ORDER BY v.id DESC LIMIT $3`

const eventPage = `SELECT ` + eventColumns + ` FROM (` + events + `) v
WHERE ($5::text IS NULL OR v.event_type = $5)
  AND ($6::uuid IS NULL OR v.organization_id = $6)
ORDER BY v.id DESC LIMIT $4`

// eventEdge is the last of a full source.
const eventEdge = `SELECT v.id FROM (` + events + `) v ORDER BY v.id DESC OFFSET $3 - 1`

// List returns up to limit events with ids below before, the newest first; uuid.Nil
// begins with the newest. It looks at a bounded number, as [Deliveries.List] does, and
// edge is to be read as there.
func (s *Events) List(ctx context.Context, f EventFilter, limit int, before uuid.UUID) (found []Event, edge uuid.UUID, err error) {
	return s.list(ctx, f, limit, before, lookAt)
}

func (s *Events) list(ctx context.Context, f EventFilter, limit int, before uuid.UUID, look int) (found []Event, edge uuid.UUID, err error) {
	low, high := Filter{Since: f.Since, Until: f.Until}.span(before)
	err = postgres.InTx(ctx, s.db, func(tx *sqlx.Tx, _ time.Time) error {
		if _, err := tx.ExecContext(ctx, inOrder); err != nil {
			return err
		}
		found = []Event{}
		if err := tx.SelectContext(ctx, &found, eventPage, high, low, look, limit, f.EventType, f.OrganizationID); err != nil || len(found) == limit {
			return err
		}
		var edges []uuid.UUID
		if err := tx.SelectContext(ctx, &edges, eventEdge, high, low, look); err != nil || len(edges) == 0 {
			return err
		}
		edge = edges[0]
		return nil
	})
	if err != nil {
		return nil, uuid.Nil, fmt.Errorf("list events: %w", postgres.Explain(err, ""))
	}
	for i := range found {
		found[i].CreatedAt = found[i].CreatedAt.UTC()
	}
	if last := len(found) - 1; last >= 0 && (last+1 == limit || edge != uuid.Nil) {
		edge = lesserOr(edge, found[last].ID)
	}
	return found, edge, nil
}

// lesserOr is the second of two ids when there is no first one, else the lesser: events
// that came in meanwhile have moved an edge up, and what is shown is not shown again.
func lesserOr(edge, shown uuid.UUID) uuid.UUID {
	if edge == uuid.Nil {
		return shown
	}
	return lesser(edge, shown)
}
