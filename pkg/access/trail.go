package access

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// Trail is the audit trail to read. [Record] writes it.
type Trail struct{ db *sqlx.DB }

// NewTrail makes the trail in db readable.
func NewTrail(db *sqlx.DB) *Trail { return &Trail{db} }

// Entry is one write, as the trail tells of it. Times are UTC.
type Entry struct {
	ID         uuid.UUID       `db:"id"`
	At         time.Time       `db:"at"`
	Actor      string          `db:"actor"`
	KeyID      *uuid.UUID      `db:"api_key_id"` // nil: no key of the database was used
	Action     string          `db:"action"`
	ObjectType string          `db:"object_type"`
	ObjectID   string          `db:"object_id"`
	RequestID  *string         `db:"request_id"` // nil: no request
	Before     json.RawMessage `db:"before"`     // null: the object did not exist
	After      json.RawMessage `db:"after"`      // null: the object is gone
}

// Filter says which entries are wanted: those that match all that is not nil.
type Filter struct {
	Actor, Action, ObjectType, ObjectID *string
	Since                               *time.Time // from then on
	Until                               *time.Time // before then
}

// entries bounds the id by the times too: an id begins with the time of its entry,
// to the millisecond, and the list is in the order of the ids.
const entries = `
SELECT id, at, actor, api_key_id, action, object_type, object_id, request_id,
       coalesce(before, 'null') AS before, coalesce(after, 'null') AS after
FROM sonicus.audit_log
WHERE id < $1
  AND ($3::text IS NULL OR actor = $3)
  AND ($4::text IS NULL OR action = $4)
  AND ($5::text IS NULL OR object_type = $5)
  AND ($6::text IS NULL OR object_id = $6)
  AND ($7::timestamptz IS NULL OR at >= $7 AND id >= sonicus.id_floor(greatest($7, 'epoch')))
  AND ($8::timestamptz IS NULL OR at < $8 AND id < sonicus.id_floor(greatest($8, 'epoch') + interval '1 millisecond'))
ORDER BY id DESC
LIMIT $2`

// List returns up to limit entries, the newest first, with ids below before;
// uuid.Nil begins with the newest.
func (t *Trail) List(ctx context.Context, f Filter, limit int, before uuid.UUID) ([]Entry, error) {
	all := []Entry{}
	if err := t.db.SelectContext(ctx, &all, entries, f.values(limit, before)...); err != nil {
		return nil, fmt.Errorf("list audit trail: %w", postgres.Explain(err, ""))
	}
	for i := range all {
		all[i].At = all[i].At.UTC()
	}
	return all, nil
}

func (f Filter) values(limit int, before uuid.UUID) []any {
	if before == uuid.Nil {
		before = uuid.Max
	}
	return []any{before, limit, f.Actor, f.Action, f.ObjectType, f.ObjectID, f.Since, f.Until}
}
