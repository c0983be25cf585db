package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

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
	Clock             *int64          `db:"webhook_timestamp"` // this and what follows is nil where it was not recorded
	Address           *string         `db:"remote_address"`
	DNSMS             *float64        `db:"dns_ms"` // nil: did not happen, as in the next two
	ConnectMS         *float64        `db:"connect_ms"`
	TLSMS             *float64        `db:"tls_ms"`
	FirstByteMS       *float64        `db:"first_byte_ms"`
	Outcome           Status          `db:"outcome"`     // Sent, Retrying or Failed
	RetryIn           *float64        `db:"retry_in"`    // seconds, when Retrying
	RetryAfter        *float64        `db:"retry_after"` // seconds, when the receiver asked for that
}

// Log is what is known of the attempts of one delivery, the first of them first, and
// of what they all sent.
type Log struct {
	Attempts []Logged `db:"-"`

	DeliveryID uuid.UUID `db:"id"`
	EventID    uuid.UUID `db:"event_id"`
	EventType  string    `db:"event_type"`
	EventTime  time.Time `db:"event_time"`
	Names      []string  `db:"-"`      // of the headers that the endpoint has of its own, as it is now
	Signed     bool      `db:"signed"` // the endpoint has a secret now
}

const logOf = `
SELECT d.id, d.event_id, d.event_type, v.created_at AS event_time, coalesce(e.header_names, '[]') AS header_names, e.secret IS NOT NULL AS signed
FROM sonicus.deliveries d
JOIN sonicus.events v ON v.id = d.event_id AND v.id >= $2 AND v.id < $3
LEFT JOIN sonicus.endpoints e ON e.id = d.endpoint_id
WHERE d.id = $1 AND d.id >= $2 AND d.id < $3`

// logged tells the outcome of attempts that were made before it was recorded from what
// came after them.
const logged = `
SELECT a.number, a.started_at, a.duration_ms, a.http_status_code, a.reason, a.error_message, coalesce(a.response_headers, 'null') AS response_headers, a.response_body,
       a.response_truncated, a.took_over, a.dispatcher, a.webhook_timestamp, host(a.remote_address) AS remote_address, a.dns_ms, a.connect_ms, a.tls_ms, a.first_byte_ms,
       a.retry_in, a.retry_after,
       CASE WHEN a.reason IS NULL THEN 'sent'
            WHEN a.retry_in IS NOT NULL OR a.webhook_timestamp IS NULL AND (a.number < d.attempt_count OR d.status = 'retrying') THEN 'retrying'
            ELSE 'failed' END AS outcome
FROM sonicus.attempts a
JOIN sonicus.deliveries d ON d.id = $1 AND d.id >= $2 AND d.id < $3
WHERE a.delivery_id = $1 AND a.delivery_id >= $2 AND a.delivery_id < $3
ORDER BY a.number`

// Attempts returns every attempt of a delivery; one that does not exist is a problem
// of kind NotFound.
func (s *Deliveries) Attempts(ctx context.Context, id uuid.UUID) (Log, error) {
	log, err := readLog(ctx, s.db, id)
	if err != nil {
		return Log{}, fmt.Errorf("list attempts: %w", postgres.Explain(err, ""))
	}
	return log, nil
}

func readLog(ctx context.Context, from sqlx.QueryerContext, id uuid.UUID) (Log, error) {
	low, high := span([]uuid.UUID{id})
	var r struct {
		Log
		HeaderNames postgres.JSON `db:"header_names"`
	}
	err := sqlx.GetContext(ctx, from, &r, logOf, id, low, high)
	if errors.Is(err, postgres.ErrNotFound) {
		return Log{}, problem.NotFound("delivery")
	}
	if err != nil {
		return Log{}, err
	}
	if err := json.Unmarshal([]byte(r.HeaderNames), &r.Names); err != nil {
		return Log{}, fmt.Errorf("header names: %w", err)
	}
	if err := sqlx.SelectContext(ctx, from, &r.Attempts, logged, id, low, high); err != nil {
		return Log{}, err
	}
	for i := range r.Attempts {
		r.Attempts[i].StartedAt = r.Attempts[i].StartedAt.UTC()
	}
	return r.Log, nil
}
