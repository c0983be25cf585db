package httpapi

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/event"
)

// entryAnswer is one write, as the audit trail tells of it.
type entryAnswer struct {
	ID         uuid.UUID       `json:"id"`
	At         event.Timestamp `json:"at"`
	Actor      string          `json:"actor"`
	APIKeyID   *uuid.UUID      `json:"api_key_id"`
	Action     string          `json:"action"`
	ObjectType string          `json:"object_type"`
	ObjectID   string          `json:"object_id"`
	RequestID  *string         `json:"request_id"`
	Before     json.RawMessage `json:"before"`
	After      json.RawMessage `json:"after"`
}

func trailFilter(p *params) access.Filter {
	return access.Filter{
		Actor: p.text("actor"), Action: p.text("action"), ObjectType: p.text("object_type"), ObjectID: p.text("object_id"),
		Since: p.instant("since"), Until: p.instant("until"),
	}
}

func trailItem(e access.Entry) (uuid.UUID, any) {
	return e.ID, entryAnswer{
		ID: e.ID, At: event.Timestamp(e.At), Actor: e.Actor, APIKeyID: e.KeyID, Action: e.Action,
		ObjectType: e.ObjectType, ObjectID: e.ObjectID, RequestID: e.RequestID, Before: e.Before, After: e.After,
	}
}
