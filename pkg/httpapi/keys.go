package httpapi

import (
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
)

// keyAnswer is an API key. There is no way to its hash from here.
type keyAnswer struct {
	ID         uuid.UUID        `json:"id"`
	Key        string           `json:"key,omitempty"` // only on creation
	Name       string           `json:"name"`
	Role       access.Role      `json:"role"`
	Last4      string           `json:"last4"`
	CreatedAt  event.Timestamp  `json:"created_at"`
	ExpiresAt  *event.Timestamp `json:"expires_at"`
	LastUsedAt *event.Timestamp `json:"last_used_at"`
	RevokedAt  *event.Timestamp `json:"revoked_at"`
}

func keyFields(f *fields) access.NewKey {
	return access.NewKey{
		Name:      f.text("name"),
		Role:      access.Role(f.text("role")),
		Lifetime:  seconds(f.integer("expires_in_seconds", endpoint.Range{Low: 1, High: math.MaxInt32})),
		ExpiresAt: f.instant("expires_at"),
	}
}

func seconds(n *int) *time.Duration {
	if n == nil {
		return nil
	}
	d := time.Duration(*n) * time.Second
	return &d
}

// showNewKey is the one place where an API key leaves the service.
func showNewKey(made access.CreatedKey) created {
	body := showKey(made.Key)
	body.Key = string(made.Plaintext)
	return created{location: keysPath + "/" + made.ID.String(), body: body}
}

func keyItem(k access.Key) (uuid.UUID, any) { return k.ID, showKey(k) }

func showKey(k access.Key) keyAnswer {
	return keyAnswer{
		ID: k.ID, Name: k.Name, Role: k.Role, Last4: k.Last4, CreatedAt: event.Timestamp(k.CreatedAt),
		ExpiresAt: (*event.Timestamp)(k.ExpiresAt), LastUsedAt: (*event.Timestamp)(k.LastUsedAt), RevokedAt: (*event.Timestamp)(k.RevokedAt),
	}
}
