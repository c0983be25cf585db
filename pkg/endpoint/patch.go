package endpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// Patch changes settings of an endpoint. Those that Given names, as they are called
// in JSON, become what they are in New, by the same rules as at the creation: nil is
// the default. All others stay. Metadata and Headers are merged as RFC 7396
// has it: null removes a member. A filter is replaced whole, for its parts mean nothing
// without the others.
type Patch struct {
	New
	Given []string

	whole bool // nothing is merged: Metadata and Headers replace what there is
}

// patchable copies a setting from one endpoint to another.
var patchable = map[string]func(to *Endpoint, from Endpoint){
	"url":             func(to *Endpoint, from Endpoint) { to.URL = from.URL },
	"events":          func(to *Endpoint, from Endpoint) { to.Events = from.Events },
	"name":            func(to *Endpoint, from Endpoint) { to.Name = from.Name },
	"description":     func(to *Endpoint, from Endpoint) { to.Description = from.Description },
	"timeout_seconds": func(to *Endpoint, from Endpoint) { to.TimeoutSeconds = from.TimeoutSeconds },
	"max_retries":     func(to *Endpoint, from Endpoint) { to.MaxRetries = from.MaxRetries },
	"retry_schedule":  func(to *Endpoint, from Endpoint) { to.RetrySchedule = from.RetrySchedule },
	"rate_limit":      func(to *Endpoint, from Endpoint) { to.RateLimit = from.RateLimit },
	"max_concurrency": func(to *Endpoint, from Endpoint) { to.MaxConcurrency = from.MaxConcurrency },
	"ordering":        func(to *Endpoint, from Endpoint) { to.Ordering = from.Ordering },
	"metadata":        func(to *Endpoint, from Endpoint) { to.Metadata = from.Metadata },
	"filter":          func(to *Endpoint, from Endpoint) { to.Filter = from.Filter },

	"breaker_failures":         func(to *Endpoint, from Endpoint) { to.BreakerFailures = from.BreakerFailures },
	"breaker_max_open_seconds": func(to *Endpoint, from Endpoint) { to.BreakerMaxOpenSeconds = from.BreakerMaxOpenSeconds },
}

// update leaves a row alone that has all these values already: jsonb and NULL are
// compared as the database does it.
const update = `
UPDATE sonicus.endpoints e
SET url = n.url, events = n.events, name = n.name, description = n.description, timeout_seconds = n.timeout_seconds,
    max_retries = n.max_retries, rate_limit = n.rate_limit, max_concurrency = n.max_concurrency, ordering = n.ordering,
    breaker_failures = n.breaker_failures, breaker_max_open_seconds = n.breaker_max_open_seconds, metadata = n.metadata,
    retry_schedule = n.retry_schedule, filter = n.filter, filter_clauses = $17, filter_paths = $18::text[]::jsonpath[], updated_at = $15
FROM (SELECT $2::text AS url, $3::jsonb AS events, $4::text AS name, $5::text AS description, $6::integer AS timeout_seconds,
             $7::integer AS max_retries, $8::integer AS rate_limit, $9::integer AS max_concurrency, $10::text AS ordering,
             $11::integer AS breaker_failures, $12::integer AS breaker_max_open_seconds, $13::jsonb AS metadata,
             $14::integer[] AS retry_schedule, $16::jsonb AS filter) n
WHERE e.id = $1
  AND (e.url, e.events, e.name, e.description, e.timeout_seconds, e.max_retries, e.rate_limit, e.max_concurrency, e.ordering,
       e.breaker_failures, e.breaker_max_open_seconds, e.metadata, e.retry_schedule, e.filter)
      IS DISTINCT FROM
      (n.url, n.events, n.name, n.description, n.timeout_seconds, n.max_retries, n.rate_limit, n.max_concurrency, n.ordering,
       n.breaker_failures, n.breaker_max_open_seconds, n.metadata, n.retry_schedule, n.filter)`

// Update changes settings of an endpoint that has one of the expected versions, and
// returns it as it is then. Problems: Invalid for bad values, NotFound,
// PreconditionFailed, and Unavailable as for [Store.Create].
func (s *Store) Update(ctx context.Context, id uuid.UUID, expected Versions, p Patch) (Endpoint, error) {
	checked, err := s.checkPatch(ctx, p)
	if err != nil {
		return Endpoint{}, err
	}
	return s.write(ctx, id, "update", expected, func(tx *sqlx.Tx, now time.Time, before Endpoint) error {
		return s.apply(ctx, tx, now, before, p, checked)
	})
}

// apply makes the changes of p, whose values have been checked, to an endpoint whose
// row is locked.
func (s *Store) apply(ctx context.Context, tx *sqlx.Tx, now time.Time, before Endpoint, p Patch, checked Checked) error {
	e, err := p.onto(before, checked)
	if err != nil {
		return err
	}
	events, err := json.Marshal(e.Events)
	if err != nil {
		return fmt.Errorf("encode events: %w", err)
	}
	filter := compile(e.Filter)
	_, err = tx.ExecContext(ctx, update, e.ID, e.URL, postgres.JSON(events), e.Name, e.Description, e.TimeoutSeconds, e.MaxRetries,
		e.RateLimit, e.MaxConcurrency, e.Ordering, e.BreakerFailures, e.BreakerMaxOpenSeconds, postgres.JSON(e.Metadata), pq.Array(e.RetrySchedule), now,
		filter.document, filter.clauses, filter.paths)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return s.patchHeaders(ctx, tx, now, e.ID, p)
}

// checkPatch is [Store.Check] for the values that are given.
func (s *Store) checkPatch(ctx context.Context, p Patch) (Checked, error) {
	found := slices.DeleteFunc(s.CheckFields(p.New, ""), func(f problem.Field) bool {
		name, _, _ := strings.Cut(f.Field, "[")
		name, _, _ = strings.Cut(name, ".")
		return !slices.Contains(p.Given, name)
	})
	if len(found) > 0 {
		return Checked{}, problem.Invalid(found...)
	}
	if !slices.Contains(p.Given, "url") {
		return p.checked("")
	}
	url, err := s.lookUp(ctx, p.URL, "")
	if err != nil {
		return Checked{}, err
	}
	return p.checked(url)
}

// onto returns the endpoint with the values that are given.
func (p Patch) onto(e Endpoint, c Checked) (Endpoint, error) {
	if !slices.Contains(p.Given, "retry_schedule") {
		p.RetrySchedule = e.RetrySchedule // the default of max_retries follows from it
		c.retries = p.retries()
	}
	from := c.created(e.ID, e.CreatedAt).Endpoint
	if p.Metadata != nil && !p.whole {
		merged, err := merge(e.Metadata, p.Metadata)
		if err != nil {
			return Endpoint{}, err
		}
		if found := checkMetadata(merged); len(found) > 0 {
			return Endpoint{}, problem.Invalid(found...)
		}
		from.Metadata = merged
	}
	for _, name := range p.Given {
		if set, ok := patchable[name]; ok {
			set(&e, from)
		}
	}
	return e, nil
}
