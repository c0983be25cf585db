// Package endpoint owns the table endpoints: where events are sent, under which
// secret, and how each receiver has been doing. Secrets are sealed before they
// reach the database and leave it only as signing keys.
package endpoint

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/secret"
)

// New is an endpoint to be registered.
type New struct {
	UID            *string         // the caller's own name for it, which no other endpoint has; nil: none
	URL            string          // https, public; see webhook.Guard
	Events         []string        // 1 to 50 event types or patterns
	Name           string          // 1 to 200 characters
	Description    string          // up to 2,000 characters, may be empty
	OrganizationID *uuid.UUID      // only events of this organization; nil: of all
	SecretKey      *secret.Value   // signs deliveries; nil: none given
	GenerateSecret bool            // make a secret and return it once; excludes SecretKey
	TimeoutSeconds *int            // deadline of one attempt, 1 to 30; nil: 10
	MaxRetries     *int            // retries after the first attempt, 0 to 50; nil: as many as RetrySchedule has waits, or else 9
	RetrySchedule  []int           // seconds to wait before each retry, the last for all that follow; nil: the dispatcher's own
	RateLimit      *int            // attempts per second over all dispatchers, 1 to 10,000; nil: no limit
	MaxConcurrency *int            // attempts in flight per dispatcher, 1 to 1,000; nil: the dispatcher's own limit
	Ordering       *string         // none or organization; nil: none
	Metadata       json.RawMessage // an object of the caller's own, up to 16 KiB; nil: empty
	Headers        Headers         // of every request, up to 20; nil: none
	Authentication *Authentication // at the receiver; nil: none
	Filter         json.RawMessage // only events whose payload meets it, see package filter; nil: all

	BreakerFailures       *int // failures in a row that open the breaker, 0 (never) to 1,000; nil: the dispatcher's own
	BreakerMaxOpenSeconds *int // longest time between two probes, 1 to 86,400; nil: the dispatcher's own
}

// What may be said of the order of deliveries.
const (
	OrderingNone         = "none"
	OrderingOrganization = "organization" // those of one organization one after another, as they were published
)

// Endpoint is a registered endpoint as people, and the audit trail, see it. Times
// are UTC.
type Endpoint struct {
	ID             uuid.UUID         `db:"id" json:"id"`
	UID            *string           `db:"uid" json:"uid"`
	Version        int64             `db:"version" json:"-"` // changes with every setting, and not with how sending goes
	URL            string            `db:"url" json:"url"`   // normalized
	Events         []string          `db:"-" json:"events"`
	IsActive       bool              `db:"is_active" json:"is_active"`
	OrganizationID *uuid.UUID        `db:"organization_id" json:"organization_id"` // nil: global
	TimeoutSeconds int               `db:"timeout_seconds" json:"timeout_seconds"`
	MaxRetries     int               `db:"max_retries" json:"max_retries"`
	RetrySchedule  []int             `db:"-" json:"retry_schedule"` // seconds; nil: the dispatcher's own
	Name           string            `db:"name" json:"name"`
	Description    string            `db:"description" json:"description"`
	SecretSet      bool              `db:"secret_set" json:"secret_set"`
	SecretLast4    *string           `db:"secret_last4" json:"secret_last4"` // nil: unsigned
	CreatedAt      time.Time         `db:"created_at" json:"created_at"`
	UpdatedAt      time.Time         `db:"updated_at" json:"updated_at"`
	RateLimit      *int              `db:"rate_limit" json:"rate_limit"`
	MaxConcurrency *int              `db:"max_concurrency" json:"max_concurrency"`
	Ordering       string            `db:"ordering" json:"ordering"`
	Metadata       json.RawMessage   `db:"-" json:"metadata"`                      // an object, without white space
	Headers        map[string]string `db:"-" json:"headers"`                       // names, with masked values
	Filter         json.RawMessage   `db:"-" json:"filter"`                        // an object, without white space; nil: all events
	DisabledReason *string           `db:"disabled_reason" json:"disabled_reason"` // set while it is switched off
	DisabledAt     *time.Time        `db:"disabled_at" json:"disabled_at"`
	PausedAt       *time.Time        `db:"paused_at" json:"paused_at"`

	PreviousSecretExpiresAt *time.Time `db:"previous_secret_expires_at" json:"previous_secret_expires_at"` // until then the secret before signs too

	BreakerFailures       *int `db:"breaker_failures" json:"breaker_failures"`
	BreakerMaxOpenSeconds *int `db:"breaker_max_open_seconds" json:"breaker_max_open_seconds"`

	// How sending goes, which the dispatchers note in the table lanes.
	BreakerState  string     `db:"breaker_state" json:"-"`   // closed, open or half_open
	BreakerUntil  *time.Time `db:"breaker_until" json:"-"`   // when the next probe is let through
	FailingSince  *time.Time `db:"failing_since" json:"-"`   // first failed attempt since the last success
	LastSuccessAt *time.Time `db:"last_success_at" json:"-"` // exact to about a second
	LastFailureAt *time.Time `db:"last_failure_at" json:"-"` // exact to about a second
}

// Created is a newly registered endpoint, or one with a new secret.
type Created struct {
	Endpoint
	Existed   bool         // it was there already, under its UID
	SecretKey secret.Value // only when it is new to the caller, or replaces another: this is the one time it is shown
}

// selection reads what row holds. Every endpoint has a lane. The version is that of
// the row itself: a system column that every update changes, by whatever hand.
const selection = `SELECT e.id, e.uid, e.xmin::text::bigint AS version, e.url, e.events, e.is_active, e.organization_id, e.timeout_seconds, e.max_retries, e.retry_schedule, e.name, e.description,
	e.secret IS NOT NULL AS secret_set, e.secret_last4,
	CASE WHEN e.previous_secret_expires_at > now() THEN e.previous_secret_expires_at END AS previous_secret_expires_at, e.created_at, e.updated_at, e.rate_limit, e.max_concurrency, e.ordering,
	e.breaker_failures, e.breaker_max_open_seconds, e.metadata, e.filter, e.header_names, e.deleted_at, e.disabled_reason, e.disabled_at, e.paused_at,
	l.breaker_state, l.breaker_until, l.failing_since, l.last_success_at, l.last_failure_at
	FROM sonicus.endpoints e JOIN sonicus.lanes l ON l.endpoint_id = e.id`

type row struct {
	Endpoint
	Events        postgres.JSON `db:"events"`
	RetrySchedule pq.Int64Array `db:"retry_schedule"`
	Metadata      postgres.JSON `db:"metadata"`
	Filter        postgres.JSON `db:"filter"`
	HeaderNames   postgres.JSON `db:"header_names"`
	DeletedAt     *time.Time    `db:"deleted_at"`
}

func (r row) endpoint() (Endpoint, error) {
	e := r.Endpoint
	if err := json.Unmarshal([]byte(r.Events), &e.Events); err != nil {
		return Endpoint{}, fmt.Errorf("events of endpoint %s: %w", e.ID, err)
	}
	for _, seconds := range r.RetrySchedule {
		e.RetrySchedule = append(e.RetrySchedule, int(seconds))
	}
	var names []string
	if err := json.Unmarshal([]byte(r.HeaderNames), &names); err != nil {
		return Endpoint{}, fmt.Errorf("header names of endpoint %s: %w", e.ID, err)
	}
	e.Headers = mask(names)
	e.Metadata, e.Filter = compact(json.RawMessage(r.Metadata)), shownFilter(r.Filter)
	e.CreatedAt, e.UpdatedAt = e.CreatedAt.UTC(), e.UpdatedAt.UTC()
	for _, at := range []*time.Time{e.PreviousSecretExpiresAt, e.DisabledAt, e.PausedAt, e.BreakerUntil, e.FailingSince, e.LastSuccessAt, e.LastFailureAt} {
		if at != nil {
			*at = at.UTC()
		}
	}
	return e, nil
}
