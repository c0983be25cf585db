package endpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/secret"
)

// Sending is what a dispatcher must know of an endpoint to send to it.
type Sending struct {
	ID             uuid.UUID `db:"id"`
	Version        int64     `db:"version"` // changes with every setting; claims carry it, so that settings can be kept in memory
	URL            string    `db:"url"`
	TimeoutSeconds int       `db:"timeout_seconds"` // deadline of one attempt
	MaxConcurrency *int      `db:"max_concurrency"` // requests in flight per dispatcher; nil: the dispatcher's own limit

	RetrySchedule pq.Int64Array `db:"retry_schedule"` // seconds; nil: the dispatcher's own

	Secret         string  `db:"secret"`          // envelope, "" when unsigned
	PreviousSecret string  `db:"previous_secret"` // envelope, "" unless a rotation overlaps
	PreviousFor    float64 `db:"previous_for"`    // seconds for which the previous secret still signs
	Headers        string  `db:"headers"`         // envelope, "" without custom headers
}

// sending takes the row's version from the system column that every update
// changes, by whatever hand. An endpoint that is deleted has lost its secrets:
// without them, what is in flight would go out unsigned.
const sending = `
SELECT e.id, e.xmin::text::bigint AS version, e.url, e.timeout_seconds, e.max_concurrency, e.retry_schedule, coalesce(e.secret, '') AS secret,
       CASE WHEN e.previous_secret_expires_at > now() THEN coalesce(e.previous_secret, '') ELSE '' END AS previous_secret,
       greatest(coalesce(extract(epoch FROM e.previous_secret_expires_at - now()), 0), 0) AS previous_for,
       coalesce(e.headers, '') AS headers
FROM sonicus.endpoints e
WHERE e.id = ANY ($1::uuid[]) AND e.deleted_at IS NULL`

// LoadSending reads the settings of some endpoints, those that exist and are not
// deleted, in no order.
func LoadSending(ctx context.Context, db *sqlx.DB, ids []uuid.UUID) ([]Sending, error) {
	var all []Sending
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		return tx.SelectContext(ctx, &all, sending, pq.Array(ids))
	})
	if err != nil {
		return nil, fmt.Errorf("load %d endpoints: %w", len(ids), err)
	}
	return all, nil
}

// Timeout is the deadline of one attempt.
func (s Sending) Timeout() time.Duration { return time.Duration(s.TimeoutSeconds) * time.Second }

// Waits are those before each retry, the last for all that follow; none: the
// dispatcher's own.
func (s Sending) Waits() []time.Duration {
	waits := make([]time.Duration, len(s.RetrySchedule))
	for i, seconds := range s.RetrySchedule {
		waits[i] = time.Duration(seconds) * time.Second
	}
	return waits
}

// Keys opens the secrets and returns the bytes that sign, the current secret's
// first; none means unsigned. Errors are those of secret.Box and hold no key
// material.
func (s Sending) Keys(box *secret.Box) ([][]byte, error) {
	return Keys(box, s.ID, s.Secret, s.PreviousSecret)
}

// CustomHeaders opens the headers of the endpoint's own, nil for none. Errors are as
// for Keys.
func (s Sending) CustomHeaders(box *secret.Box) (map[string]string, error) {
	return openHeaders(box, s.ID, s.Headers)
}
