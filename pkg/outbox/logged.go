package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// Logged is an attempt that has been made. Times are UTC.
type Logged struct {
	Number            int             `db:"number"`
	StartedAt         time.Time       `db:"started_at"`
	DurationMS        float64         `db:"duration_ms"`
	HTTPStatus        *int            `db:"http_status_code"`
	Reason            *string         `db:"reason"` // nil: success
	Error             *string         `db:"error_message"`
	ResponseHeaders   json.RawMessage `db:"response_headers"` // an object or null
	ResponseBody      *string         `db:"response_body"`
	ResponseTruncated bool            `db:"response_truncated"`
	TookOver          bool            `db:"took_over"`
	Dispatcher        string          `db:"dispatcher"`
}

// Log is what is known of the attempts of one delivery, the first of them first, and
// of what they all sent.
type Log struct {
	Attempts []Logged

	DeliveryID  uuid.UUID     `db:"id"`
	EventID     uuid.UUID     `db:"event_id"`
	EventType   string        `db:"event_type"`
	EventTime   time.Time     `db:"event_time"`
	HeaderNames postgres.JSON `db:"header_names"` // array of the names of the endpoint's own headers, as it is now
	Signed      bool          `db:"signed"`       // the endpoint has a secret now
	Status      Status        `db:"status"`       // of the delivery
}

const logOf = `
SELECT d.id, d.event_id, d.event_type, d.status, v.created_at AS event_time, coalesce(e.header_names, '[]') AS header_names, e.secret IS NOT NULL AS signed
FROM sonicus.deliveries d
JOIN sonicus.events v ON v.id = d.event_id AND v.id >= $2 AND v.id < $3
LEFT JOIN sonicus.endpoints e ON e.id = d.endpoint_id
WHERE d.id = $1 AND d.id >= $2 AND d.id < $3`

const logged = `
SELECT a.number, a.started_at, a.duration_ms, a.http_status_code, a.reason, a.error_message, coalesce(a.response_headers, 'null') AS response_headers, a.response_body,
       a.response_truncated, a.took_over, a.dispatcher
FROM sonicus.attempts a
WHERE a.delivery_id = $1 AND a.delivery_id >= $2 AND a.delivery_id < $3
ORDER BY a.number`

// Attempts returns every attempt of a delivery; one that does not exist is a problem
// of kind NotFound.
func (s *Deliveries) Attempts(ctx context.Context, id uuid.UUID) (Log, error) {
	low, high := span([]uuid.UUID{id})
	var all []Log
	if err := s.db.SelectContext(ctx, &all, logOf, id, low, high); err != nil {
		return Log{}, fmt.Errorf("get delivery: %w", postgres.Explain(err, ""))
	}
	if len(all) == 0 {
		return Log{}, problem.NotFound("delivery")
	}
	log := all[0]
	if err := s.db.SelectContext(ctx, &log.Attempts, logged, id, low, high); err != nil {
		return Log{}, fmt.Errorf("list attempts: %w", postgres.Explain(err, ""))
	}
	for i := range log.Attempts {
		log.Attempts[i].StartedAt = log.Attempts[i].StartedAt.UTC()
	}
	return log, nil
}

// Names are the names of the endpoint's own headers.
func (l Log) Names() ([]string, error) {
	var names []string
	if err := json.Unmarshal([]byte(l.HeaderNames), &names); err != nil {
		return nil, fmt.Errorf("header names: %w", err)
	}
	return names, nil
}
