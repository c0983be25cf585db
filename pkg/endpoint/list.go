package endpoint

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/event"
)

// Healths are the words for how an endpoint is: the last of them that holds. One
// that is failing has failed in its last attempt, one that is open has a circuit
// breaker that is not closed.
func Healths() []string { return []string{"ok", "failing", "open", "paused", "disabled"} }

// Filter says which endpoints a list shows; the zero value: all.
type Filter struct {
	Active         *bool
	OrganizationID *uuid.UUID // those that are limited to it, and not the global ones
	EventType      string     // those subscribed to this type, by its name or by a pattern
	Health         string     // one of Healths
	UID            string     // the one that has it
	Text           string     // in the name or the URL, in whichever case
}

const list = selection + `
WHERE e.id < $1 AND e.deleted_at IS NULL
  AND ($3::boolean IS NULL OR e.is_active = $3)
  AND ($4::uuid IS NULL OR e.organization_id = $4)
  AND ($5::jsonb[] IS NULL OR e.events @> ANY ($5))
  AND ($6 = '' OR $6 = CASE WHEN NOT e.is_active THEN 'disabled' WHEN e.paused_at IS NOT NULL THEN 'paused' WHEN l.breaker_state <> 'closed' THEN 'open'
                            WHEN l.failing_since IS NOT NULL THEN 'failing' ELSE 'ok' END)
  AND ($8 = '' OR e.uid = $8)
  AND ($7 = '' OR e.name ILIKE $7 OR e.url ILIKE $7)
ORDER BY e.id DESC
LIMIT $2`

// List returns up to limit endpoints, the newest first, with ids below before;
// uuid.Nil begins with the newest.
func (s *Store) List(ctx context.Context, f Filter, limit int, before uuid.UUID) ([]Endpoint, error) {
	if before == uuid.Nil {
		before = uuid.Max
	}
	var rows []row
	if err := s.db.SelectContext(ctx, &rows, list, before, limit, f.Active, f.OrganizationID, f.patterns(), f.Health, f.like(), f.UID); err != nil {
		return nil, explain("list endpoints", "", err)
	}
	all := make([]Endpoint, len(rows))
	for i, r := range rows {
		var err error
		if all[i], err = r.endpoint(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// patterns are those that match the type, as JSON strings; nil when none is asked for.
func (f Filter) patterns() pq.StringArray {
	if f.EventType == "" {
		return nil
	}
	var all pq.StringArray
	for _, p := range event.Patterns(f.EventType) {
		quoted, _ := json.Marshal(p) // a string always encodes
		all = append(all, string(quoted))
	}
	return all
}

// like finds the text as it is: none of its characters stands for others.
func (f Filter) like() string {
	if f.Text == "" {
		return ""
	}
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(f.Text) + "%"
}
