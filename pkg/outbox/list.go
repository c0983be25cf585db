package outbox

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// Filter says which deliveries are wanted: those that match all that is set.
type Filter struct {
	EndpointID     *uuid.UUID
	EventID        *uuid.UUID
	OrganizationID *uuid.UUID
	EventType      *string
	Statuses       []Status // any of them; nil: all
	FailureReason  *string
	HTTPStatus     *int
	Test           *bool
	Since          *time.Time // events from then on, to the millisecond
	Until          *time.Time // events before then, to the millisecond
}

// Statuses are the states of a delivery.
func Statuses() []Status { return []Status{Pending, Retrying, Sent, Failed} }

// lookAt is how many deliveries are looked at for one page, whatever the filter: no
// index tells the status of a delivery, because then settling could not be a HOT
// update. It takes some tens of milliseconds.
const lookAt = 25_000

// A source gives deliveries d in the order of the list: with ids below $1 and from
// $2 on, at most $3. The filter is looked at outside of it.
type source struct{ from, order string }

// What the sources are for: everything, one endpoint's, and those that still have
// work. The second spells the endpoint out as a part of a row, or the planner might
// walk through the deliveries of all endpoints to find those of one.
var (
	byID = source{`
		SELECT d.* FROM sonicus.deliveries d WHERE d.id < $1 AND d.id >= $2 AND $4::uuid IS NULL ORDER BY d.id DESC LIMIT $3`, `d.id DESC`}
	byEndpoint = source{`
		SELECT d.* FROM sonicus.deliveries d
		WHERE (d.endpoint_id, d.id) < ($4::uuid, $1::uuid) AND (d.endpoint_id, d.id) >= ($4::uuid, $2::uuid) AND d.id < $1 AND d.id >= $2
		ORDER BY d.endpoint_id DESC, d.id DESC LIMIT $3`, `d.endpoint_id DESC, d.id DESC`}
	byQueue = source{`
		SELECT d.*
		FROM (SELECT q.delivery_id FROM sonicus.queue q WHERE q.delivery_id < $1 AND q.delivery_id >= $2 AND $4::uuid IS NULL ORDER BY q.delivery_id DESC LIMIT $3) q
		CROSS JOIN LATERAL (SELECT * FROM sonicus.deliveries d WHERE d.id = q.delivery_id AND d.id < $1 AND d.id >= $2 LIMIT 1) d
		ORDER BY q.delivery_id DESC`, `d.id DESC`}
)

// page takes up to $5 of a source that match.
func (s source) page() string {
	return `SELECT ` + deliveryColumns + ` FROM (` + s.from + `) d
WHERE ($6::uuid IS NULL OR d.event_id = $6)
  AND ($7::text IS NULL OR d.event_type = $7)
  AND ($8::text[] IS NULL OR d.status = ANY ($8))
  AND ($9::text IS NULL OR d.failure_reason = $9)
  AND ($10::integer IS NULL OR d.http_status_code = $10)
  AND ($11::uuid IS NULL OR $11 = (SELECT v.organization_id FROM sonicus.events v WHERE v.id = d.event_id))
  AND ($12::boolean IS NULL OR $12 = (SELECT v.test FROM sonicus.events v WHERE v.id = d.event_id))
ORDER BY ` + s.order + ` LIMIT $5`
}

// edge is the last of a full source.
func (s source) edge() string {
	return `SELECT d.id FROM (` + s.from + `) d ORDER BY ` + s.order + ` OFFSET $3 - 1`
}

// source chooses where to look.
func (f Filter) source() source {
	hasWork := func(s Status) bool { return s == Pending || s == Retrying }
	switch {
	case f.EndpointID != nil:
		return byEndpoint
	case len(f.Statuses) > 0 && !slices.ContainsFunc(f.Statuses, func(s Status) bool { return !hasWork(s) }):
		return byQueue
	default:
		return byID
	}
}

// List returns up to limit deliveries with ids below before, the newest events
// first; uuid.Nil begins with the newest. It looks at a bounded number: when there
// may be more further on than what is returned, edge is the id below which to go on,
// even if nothing was found; else it is uuid.Nil.
func (s *Deliveries) List(ctx context.Context, f Filter, limit int, before uuid.UUID) (found []Delivery, edge uuid.UUID, err error) {
	return s.list(ctx, f, limit, before, lookAt)
}

func (s *Deliveries) list(ctx context.Context, f Filter, limit int, before uuid.UUID, look int) (found []Delivery, edge uuid.UUID, err error) {
	err = postgres.InTx(ctx, s.db, func(tx *sqlx.Tx, _ time.Time) error {
		if _, err := tx.ExecContext(ctx, inOrder); err != nil {
			return err
		}
		found, edge, err = f.read(ctx, tx, limit, before, look)
		return err
	})
	if err != nil {
		return nil, uuid.Nil, fmt.Errorf("list deliveries: %w", postgres.Explain(err, ""))
	}
	return found, edge, nil
}

// inOrder leaves the planner no way to a page but an index in the order of the list:
// by its guesses it might read and sort all deliveries of an endpoint instead.
const inOrder = `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true)`

func (f Filter) read(ctx context.Context, tx *sqlx.Tx, limit int, before uuid.UUID, look int) (found []Delivery, edge uuid.UUID, err error) {
	from, args := f.source(), f.arguments(limit, before, look)
	found = []Delivery{}
	if err := tx.SelectContext(ctx, &found, from.page(), args...); err != nil {
		return nil, uuid.Nil, err
	}
	for i := range found {
		found[i].inUTC()
	}
	if len(found) == limit {
		return found, found[limit-1].ID, nil
	}
	var edges []uuid.UUID
	if err := tx.SelectContext(ctx, &edges, from.edge(), args[:sourceArguments]...); err != nil || len(edges) == 0 {
		return found, uuid.Nil, err
	}
	if len(found) > 0 { // deliveries that came in meanwhile have moved the edge up: what is shown is not shown again
		return found, lesser(edges[0], found[len(found)-1].ID), nil
	}
	return found, edges[0], nil
}

// sourceArguments is how many placeholders a source has.
const sourceArguments = 4

// arguments are those of a page, of which the first are the source's.
func (f Filter) arguments(limit int, before uuid.UUID, look int) []any {
	low, high := f.span(before)
	return []any{high, low, look, f.EndpointID, limit, f.EventID, f.EventType, f.statuses(), f.FailureReason, f.HTTPStatus, f.OrganizationID, f.Test}
}

func (f Filter) statuses() (all pq.StringArray) {
	for _, s := range f.Statuses {
		all = append(all, string(s))
	}
	return all
}

// span bounds the ids, from low to below high: those of one event begin as its own
// does, with its time.
func (f Filter) span(before uuid.UUID) (low, high uuid.UUID) {
	high = before
	if high == uuid.Nil {
		high = uuid.Max
	}
	if f.Since != nil {
		low = msFloor(f.Since.UnixMilli())
	}
	if f.Until != nil {
		high = lesser(high, msFloor(f.Until.UnixMilli()))
	}
	if f.EventID != nil {
		low = greater(low, msFloor(ms(*f.EventID)))
		high = lesser(high, msFloor(ms(*f.EventID)+1))
	}
	return low, high
}

// Postgres compares ids as bytes, too.
func lesser(a, b uuid.UUID) uuid.UUID {
	if bytes.Compare(a[:], b[:]) < 0 {
		return a
	}
	return b
}

func greater(a, b uuid.UUID) uuid.UUID {
	if lesser(a, b) == a {
		return b
	}
	return a
}
