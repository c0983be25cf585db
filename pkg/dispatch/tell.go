package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// Operational events are published in the transaction that finds out what they tell.
// None is about a delivery of an operational event or of a test: each comes from the
// delivery of a business event, so that however their own receivers do, nothing grows
// without new business. The one exception, an endpoint that is switched off, ends by
// itself: it gets nothing any more.

// aside says whether nothing is told of a result.
func aside(r outbox.Result) bool { return r.Test || event.Operational(r.EventType) }

// tell publishes an operational event.
func tell(ctx context.Context, tx *postgres.Tx, ev event.Envelope, done *settled) error {
	told, err := outbox.Publish(ctx, tx, ev)
	done.told = append(done.told, told...)
	return err
}

// tellOf publishes what results have shown, if anybody wants to know.
func tellOf(ctx context.Context, tx *postgres.Tx, now time.Time, results []outbox.Result, done *settled) error {
	if back := recovered(results, done.health.Changes); len(back) > 0 {
		if err := tellRecovered(ctx, tx, now, back, done); err != nil {
			return err
		}
	}
	if lost := exhausted(results); len(lost) > 0 {
		return tellExhausted(ctx, tx, now, lost, done)
	}
	return nil
}

// recovered are the breakers that a success has closed which is told of.
func recovered(results []outbox.Result, changes []outbox.Change) []outbox.Change {
	var back []outbox.Change
	for _, c := range changes {
		if c.To == outbox.Closed && slices.ContainsFunc(results, func(r outbox.Result) bool {
			return r.EndpointID == c.EndpointID && r.Status == outbox.Sent && !aside(r)
		}) {
			back = append(back, c)
		}
	}
	return back
}

func tellRecovered(ctx context.Context, tx *postgres.Tx, now time.Time, back []outbox.Change, done *settled) error {
	if wanted, err := outbox.Wanted(ctx, tx, event.EndpointRecovered); err != nil || !wanted {
		return err
	}
	ids := make([]uuid.UUID, len(back))
	for i, c := range back {
		ids[i] = c.EndpointID
	}
	names, err := endpoint.Names(ctx, tx, ids)
	if err != nil {
		return err
	}
	for _, c := range back {
		if !names[c.EndpointID].IsActive { // switched off or deleted meanwhile
			continue
		}
		ev, err := event.NewEndpointRecovered(postgres.NewID(now), now, event.RecoveredEndpoint{
			Endpoint: named(names[c.EndpointID]), FailingSince: (*event.Timestamp)(c.FailingSince), RecoveredAt: event.Timestamp(now),
		})
		if err != nil {
			return err
		}
		if err := tell(ctx, tx, ev, done); err != nil {
			return err
		}
	}
	return nil
}

// exhausted are the deliveries that are given up and told of.
func exhausted(results []outbox.Result) (ids []uuid.UUID) {
	for _, r := range results {
		if r.Status == outbox.Failed && (r.FailureReason == reasonExhausted || r.FailureReason == reasonBlocked) && !aside(r) {
			ids = append(ids, r.DeliveryID)
		}
	}
	return ids
}

func tellExhausted(ctx context.Context, tx *postgres.Tx, now time.Time, ids []uuid.UUID, done *settled) error {
	if wanted, err := outbox.Wanted(ctx, tx, event.DeliveryExhausted); err != nil || !wanted {
		return err
	}
	lost, err := outbox.Ended(ctx, tx, ids)
	if err != nil {
		return err
	}
	endpoints := make([]uuid.UUID, len(lost))
	for i, d := range lost {
		endpoints[i] = d.EndpointID
	}
	names, err := endpoint.Names(ctx, tx, endpoints)
	if err != nil {
		return err
	}
	for _, d := range lost {
		ev, err := event.NewDeliveryExhausted(postgres.NewID(now), now, event.Delivery{
			ID: d.ID, EventID: d.EventID, EventType: d.EventType, CreatedAt: event.Timestamp(d.CreatedAt), AttemptCount: d.AttemptCount,
			FailureReason: d.FailureReason, HTTPStatusCode: d.HTTPStatusCode, ErrorMessage: d.ErrorMessage,
		}, named(names[d.EndpointID]))
		if err != nil {
			return err
		}
		if err := tell(ctx, tx, ev, done); err != nil {
			return err
		}
	}
	return nil
}

func named(n endpoint.Name) event.Endpoint {
	return event.Endpoint{ID: n.ID, Name: n.Name, URL: n.URL, OrganizationID: n.OrganizationID}
}
