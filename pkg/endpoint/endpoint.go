// Package endpoint owns the table endpoints: where events are sent, under which
// secret, and how each receiver has been doing. Secrets are sealed before they
// reach the database and leave it only as signing keys.
package endpoint

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/secret"
)

// New is an endpoint to be registered.
type New struct {
	URL            string        // https, public; see webhook.Guard
	Events         []string      // 1 to 50 event types or patterns
	Name           string        // 1 to 200 characters
	Description    string        // up to 2,000 characters, may be empty
	OrganizationID *uuid.UUID    // only events of this organization; nil: of all
	SecretKey      *secret.Value // signs deliveries; nil: none given
	GenerateSecret bool          // make a secret and return it once; excludes SecretKey
	TimeoutSeconds *int          // deadline of one attempt, 1 to 30; nil: 10
	MaxRetries     *int          // retries after the first attempt, 0 to 50; nil: 9
}

// Endpoint is a registered endpoint as people see it. Times are UTC.
type Endpoint struct {
	ID             uuid.UUID  `db:"id"`
	URL            string     `db:"url"` // normalized
	Events         []string   `db:"-"`
	IsActive       bool       `db:"is_active"`
	OrganizationID *uuid.UUID `db:"organization_id"` // nil: global
	TimeoutSeconds int        `db:"timeout_seconds"`
	MaxRetries     int        `db:"max_retries"`
	Name           string     `db:"name"`
	Description    string     `db:"description"`
	SecretSet      bool       `db:"secret_set"`
	SecretLast4    *string    `db:"secret_last4"` // nil: unsigned
	CreatedAt      time.Time  `db:"created_at"`
	UpdatedAt      time.Time  `db:"updated_at"`
	LastSuccessAt  *time.Time `db:"last_success_at"` // exact to about a second
	LastFailureAt  *time.Time `db:"last_failure_at"` // exact to about a second
	DisabledReason *string    `db:"disabled_reason"` // set when the service switched it off
	DisabledAt     *time.Time `db:"disabled_at"`
	PausedAt       *time.Time `db:"paused_at"`
	BreakerState   string     `db:"breaker_state"` // closed, open or half_open
}

// Created is a newly registered endpoint.
type Created struct {
	Endpoint
	SecretKey secret.Value // only when it was generated: this is the one time it is shown
}

// columns matches row.
const columns = `id, url, events, is_active, organization_id, timeout_seconds, max_retries, name, description,
	secret IS NOT NULL AS secret_set, secret_last4, created_at, updated_at, last_success_at, last_failure_at,
	disabled_reason, disabled_at, paused_at, breaker_state`

type row struct {
	Endpoint
	Events postgres.JSON `db:"events"`
}

func (r row) endpoint() (Endpoint, error) {
	e := r.Endpoint
	if err := json.Unmarshal([]byte(r.Events), &e.Events); err != nil {
		return Endpoint{}, fmt.Errorf("events of endpoint %s: %w", e.ID, err)
	}
	e.CreatedAt, e.UpdatedAt = e.CreatedAt.UTC(), e.UpdatedAt.UTC()
	for _, at := range []*time.Time{e.LastSuccessAt, e.LastFailureAt, e.DisabledAt, e.PausedAt} {
		if at != nil {
			*at = at.UTC()
		}
	}
	return e, nil
}
