package dispatch

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// keepEndpoints bounds the memory of endpoints: at some kilobytes each, far below
// what a process has.
const keepEndpoints = 20_000

// prepared is an endpoint made ready for sending.
type prepared struct {
	version int64
	target  *webhook.Target
	timeout time.Duration
	keysErr error     // the secret or a header cannot be decrypted: nothing is sent
	until   time.Time // when a previous secret stops signing; zero: never
	id, url string    // as the log shows them
}

// endpoints keeps what attempts need of their endpoints: URLs are parsed, secrets
// decrypted and keys prepared once for every version of the settings.
type endpoints struct {
	db     *postgres.DB
	box    *secret.Box
	sender *webhook.Sender
	lanes  *lanes

	mu    sync.Mutex
	known map[uuid.UUID]*prepared
}

func newEndpoints(db *postgres.DB, box *secret.Box, sender *webhook.Sender, lanes *lanes) *endpoints {
	return &endpoints{db: db, box: box, sender: sender, lanes: lanes, known: map[uuid.UUID]*prepared{}}
}

// of returns the endpoint of a delivery; nil when it is not known.
func (e *endpoints) of(id uuid.UUID) *prepared {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known[id]
}

// refresh reads the settings that the claimed deliveries show to be new.
func (e *endpoints) refresh(ctx context.Context, claimed []outbox.Claimed) error {
	ids := e.outdated(time.Now(), claimed)
	if len(ids) == 0 {
		return nil
	}
	all, err := endpoint.LoadSending(ctx, e.db, ids)
	if err != nil {
		return err
	}
	for _, s := range all {
		p := e.prepare(s)
		e.lanes.limit(s.ID, s.MaxConcurrency)
		e.mu.Lock()
		e.known[s.ID] = p
		e.mu.Unlock()
	}
	return nil
}

func (e *endpoints) outdated(now time.Time, claimed []outbox.Claimed) []uuid.UUID {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.known) > keepEndpoints {
		e.known = map[uuid.UUID]*prepared{}
	}
	var ids []uuid.UUID
	var last uuid.UUID // deliveries come lane by lane
	for _, c := range claimed {
		if c.EndpointID == last {
			continue
		}
		last = c.EndpointID
		if p := e.known[last]; p == nil || p.version != c.EndpointVersion || p.keysErr != nil || (!p.until.IsZero() && now.After(p.until)) {
			ids = append(ids, last)
		}
	}
	return ids
}

func (e *endpoints) prepare(s endpoint.Sending) *prepared {
	p := &prepared{version: s.Version, timeout: s.Timeout(), id: s.ID.String(), url: withoutQuery(s.URL)}
	keys, err := s.Keys(e.box)
	custom, unreadable := s.CustomHeaders(e.box)
	p.keysErr = errors.Join(err, unreadable)
	p.target = e.sender.Target(s.URL, keys).WithHeaders(custom)
	if s.PreviousSecret != "" {
		p.until = time.Now().Add(time.Duration(s.PreviousFor * float64(time.Second)))
	}
	return p
}

// withoutQuery keeps tokens that people put into query strings out of the log.
func withoutQuery(url string) string {
	base, _, found := strings.Cut(url, "?")
	if found {
		return base + "?…"
	}
	return base
}
