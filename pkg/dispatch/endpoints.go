package dispatch

import (
	"context"
	"errors"
	"iter"
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

	waits        []time.Duration // before retries; none: as the process is set
	mostInFlight *int            // requests at once from this process; nil: as the process is set
	keysErr      error           // the secret or a header cannot be decrypted: nothing is sent
	until        time.Time       // when a previous secret stops signing; zero: never
	id, url      string          // as the log shows them
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

// of returns the endpoint of a claimed delivery. It has been read for the claim, and
// is read again if it was dropped since.
func (e *endpoints) of(ctx context.Context, c outbox.Claimed) (*prepared, error) {
	if p := e.get(c.EndpointID); p != nil {
		return p, nil
	}
	if err := e.refresh(ctx, []outbox.Claimed{c}); err != nil {
		return nil, err
	}
	if p := e.get(c.EndpointID); p != nil {
		return p, nil
	}
	return nil, errUnknownEndpoint
}

func (e *endpoints) get(id uuid.UUID) *prepared {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known[id]
}

// refresh reads the settings that the claimed deliveries show to be new, and tells
// the lanes of every limit, which they may have forgotten.
func (e *endpoints) refresh(ctx context.Context, claimed []outbox.Claimed) error {
	if ids := e.outdated(time.Now(), claimed); len(ids) > 0 {
		all, err := endpoint.LoadSending(ctx, e.db, ids)
		if err != nil {
			return err
		}
		for _, s := range all {
			p := e.prepare(s)
			e.mu.Lock()
			e.known[s.ID] = p
			e.mu.Unlock()
		}
	}
	for c := range oneOfEach(claimed) {
		if p := e.get(c.EndpointID); p != nil {
			e.lanes.limit(c.EndpointID, p.mostInFlight)
		}
	}
	return nil
}

// oneOfEach gives one delivery of each endpoint; they come lane by lane.
func oneOfEach(claimed []outbox.Claimed) iter.Seq[outbox.Claimed] {
	return func(yield func(outbox.Claimed) bool) {
		for i, c := range claimed {
			if (i == 0 || c.EndpointID != claimed[i-1].EndpointID) && !yield(c) {
				return
			}
		}
	}
}

func (e *endpoints) outdated(now time.Time, claimed []outbox.Claimed) []uuid.UUID {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.known) > keepEndpoints {
		e.known = map[uuid.UUID]*prepared{}
	}
	var ids []uuid.UUID
	for c := range oneOfEach(claimed) {
		if p := e.known[c.EndpointID]; p == nil || p.version != c.EndpointVersion || p.keysErr != nil || (!p.until.IsZero() && now.After(p.until)) {
			ids = append(ids, c.EndpointID)
		}
	}
	return ids
}

func (e *endpoints) prepare(s endpoint.Sending) *prepared {
	p := &prepared{version: s.Version, timeout: s.Timeout(), waits: s.Waits(), mostInFlight: s.MaxConcurrency, id: s.ID.String(), url: webhook.WithoutQuery(s.URL)}
	keys, err := s.Keys(e.box)
	custom, unreadable := s.CustomHeaders(e.box)
	p.keysErr = errors.Join(err, unreadable)
	p.target = e.sender.Target(s.URL, keys).WithHeaders(custom)
	if s.PreviousSecret != "" {
		p.until = time.Now().Add(time.Duration(s.PreviousFor * float64(time.Second)))
	}
	return p
}
