package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/filter"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// maxFilter is how many bytes of JSON, without white space, a filter may have.
const maxFilter = 16 << 10

// checkFilter takes a filter that may be left out: nil passes.
func checkFilter(document json.RawMessage) []problem.Field {
	if document == nil {
		return nil
	}
	document = compact(document)
	if len(document) > maxFilter {
		return wrong("filter", "too_large", fmt.Sprintf("use at most %d bytes of JSON", maxFilter))
	}
	_, found := filter.Parse(document)
	return found
}

// filterColumns are what the database keeps of a filter that has passed, or of none.
type filterColumns struct {
	document       postgres.JSON
	clauses, paths pq.StringArray
}

func compile(document json.RawMessage) (columns filterColumns) {
	if document == nil {
		return columns
	}
	document = compact(document)
	columns.document = postgres.JSON(document)
	clauses, _ := filter.Parse(document)
	columns.clauses, columns.paths = pq.StringArray{}, pq.StringArray{} // NULL is no filter
	for _, c := range clauses {
		columns.clauses, columns.paths = append(columns.clauses, c.Name), append(columns.paths, c.Path)
	}
	return columns
}

// shownFilter is a filter as it is read from the database, nil for none.
func shownFilter(document postgres.JSON) json.RawMessage {
	if document == "" {
		return nil
	}
	return compact(json.RawMessage(document))
}

// Trial is a filter and what to try it on.
type Trial struct {
	Filter  json.RawMessage
	Payload json.RawMessage // an object, as a receiver would get it; nil: that of the event
	EventID *uuid.UUID
}

// check returns all that is wrong.
func (t Trial) check() []problem.Field {
	found := checkFilter(t.Filter)
	if t.Filter == nil {
		found = wrong("filter", "required", "give a filter")
	}
	switch {
	case (t.Payload == nil) == (t.EventID == nil):
		found = append(found, wrong("payload", "exclusive", "give payload or event_id, and not both")...)
	case len(compact(t.Payload)) > event.MaxPayload:
		found = append(found, wrong("payload", "too_large", fmt.Sprintf("use at most %d bytes of JSON, as events have", event.MaxPayload))...)
	}
	return found
}

// Try tells whether a filter lets a payload through, as publishing would: the clause
// that is not met, the first of several, and "" when it does. Nothing is written.
// Problems: Invalid for bad values, among them an event that does not exist;
// Unavailable while the database is away.
func (s *Store) Try(ctx context.Context, t Trial) (clause string, err error) {
	if found := t.check(); len(found) > 0 {
		return "", problem.Invalid(found...)
	}
	payload, err := s.payload(ctx, t)
	if err != nil {
		return "", err
	}
	columns := compile(t.Filter)
	if clause, err = outbox.FailingClause(ctx, s.db, columns.paths, columns.clauses, payload); err != nil {
		return "", explain("try filter", "", err)
	}
	return clause, nil
}

func (s *Store) payload(ctx context.Context, t Trial) (postgres.JSON, error) {
	if t.EventID == nil {
		return postgres.JSON(t.Payload), nil
	}
	payload, err := outbox.Payload(ctx, s.db, *t.EventID)
	if errors.Is(err, postgres.ErrNotFound) {
		return "", problem.Invalid(wrong("event_id", "unknown_event", "name an event that exists, or give a payload")...)
	}
	if err != nil {
		return "", explain("try filter", "", err)
	}
	return payload, nil
}
