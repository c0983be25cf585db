package endpoint

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// Triggered is a test that is on its way to endpoints.
type Triggered struct {
	EventID    uuid.UUID `json:"-"`
	EventType  string    `json:"event_type"`
	Deliveries int       `json:"deliveries"` // to as many endpoints
}

// Trigger publishes a test that looks like the creation of an organization: every
// active endpoint that is subscribed to that gets it, whatever its organization or
// filter, by the dispatchers, with retries. Problems: Unavailable as for [Store.Create].
func (t *Tester) Trigger(ctx context.Context) (Triggered, error) {
	var endpoints []uuid.UUID
	made, err := idempotency.InTx(ctx, t.store.db, func(tx *sqlx.Tx, now time.Time) (Triggered, error) {
		e, err := event.NewOrganizationTest(postgres.NewID(now), now)
		if err != nil {
			return Triggered{}, err
		}
		if endpoints, err = outbox.Publish(ctx, tx, e); err != nil {
			return Triggered{}, err
		}
		made := Triggered{EventID: e.ID, EventType: e.Type, Deliveries: len(endpoints)}
		return made, access.Record(ctx, tx, now, access.Change{Action: "webhook.trigger_test", ObjectType: "event", ObjectID: e.ID, After: made})
	})
	if err != nil {
		return Triggered{}, explain("trigger test", "It is not known whether the test was triggered. Look for it in the deliveries, or trigger another one.", err)
	}
	t.store.committed(endpoints)
	return made, nil
}
