package access

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// Actor is who does something, and in which request.
type Actor struct {
	Principal
	RequestID string // as in the log and in the answer
}

type actorKey struct{}

// WithActor returns a context whose writes are the actor's.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// Change is what the audit trail tells of a write.
type Change struct {
	Action     string // for example "endpoint.update"
	ObjectType string // for example "endpoint"
	ObjectID   uuid.UUID
	Before     any // what people may see of the object, without secrets; nil: it did not exist
	After      any // the same after the write; nil: it is gone
}

// ActorName is whose writes a context's are, as the audit trail names it.
func ActorName(ctx context.Context) string { return actorOf(ctx).Name }

func actorOf(ctx context.Context) Actor {
	if actor, ok := ctx.Value(actorKey{}).(Actor); ok {
		return actor
	}
	return Actor{Principal: Principal{Name: commandLine}}
}

// Record writes a change into the audit trail, in the transaction of the change
// itself; now is that transaction's time. The actor is the context's, or the
// command line when there is none.
func Record(ctx context.Context, tx *sqlx.Tx, now time.Time, c Change) error {
	actor := actorOf(ctx)
	before, err := encoded(c.Before)
	if err != nil {
		return err
	}
	after, err := encoded(c.After)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO sonicus.audit_log (id, at, api_key_id, actor, action, object_type, object_id, request_id, before, after)
		VALUES ($1, $2, $3, $4, $5, $6, $7, nullif($8, ''), $9, $10)`,
		postgres.NewID(now), now, uuid.NullUUID{UUID: actor.KeyID, Valid: actor.KeyID != uuid.Nil}, actor.Name,
		c.Action, c.ObjectType, c.ObjectID.String(), actor.RequestID, before, after)
	if err != nil {
		return fmt.Errorf("insert audit row: %w", err)
	}
	return nil
}

// encoded is the JSON of an object, nil for none.
func encoded(object any) (*postgres.JSON, error) {
	if object == nil {
		return nil, nil //nolint:nilnil // SQL's NULL
	}
	b, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encode for the audit trail: %w", err)
	}
	shown := postgres.JSON(b)
	return &shown, nil
}
