package outbox

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// channel is where hints are sent.
const channel = "sonicus_queue"

// maxHinted is how many lanes a hint can name: a NOTIFY carries less than 8,000
// bytes, and a lane takes the 36 of its endpoint, retryMark or not, and a comma.
const (
	maxHinted = 8000 / 38
	retryMark = "r"
)

// A Hinter tells dispatchers that deliveries have been committed, and to which
// endpoints. A hint only saves them the wait for their next poll; one that is
// lost costs nothing else.
//
// It speaks on its own, after the commit: NOTIFY inside the business transaction
// would make every commit queue for a database-wide lock (40 % fewer creates,
// measured). Hints that come while one is on its way become one.
type Hinter struct {
	db   *sqlx.DB
	log  *slog.Logger
	wake chan struct{}

	mu      sync.Mutex
	waiting map[Lane]struct{} // not more than maxHinted and one: then the hint names none
}

// NewHinter makes a hinter that speaks through db.
func NewHinter(db *sqlx.DB, log *slog.Logger) *Hinter {
	return &Hinter{db: db, log: log, wake: make(chan struct{}, 1), waiting: map[Lane]struct{}{}}
}

// Hint says that deliveries to these endpoints have been committed; without any
// it says nothing. It returns at once.
func (h *Hinter) Hint(endpoints []uuid.UUID) {
	lanes := make([]Lane, len(endpoints))
	for i, id := range endpoints {
		lanes[i] = Lane{EndpointID: id}
	}
	h.HintLanes(lanes)
}

// HintLanes is [Hinter.Hint] for what may be retries.
func (h *Hinter) HintLanes(lanes []Lane) {
	if len(lanes) == 0 {
		return
	}
	h.mu.Lock()
	for _, l := range lanes {
		if len(h.waiting) > maxHinted {
			break
		}
		h.waiting[l] = struct{}{}
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run sends the hints until ctx ends, and then the one that still waits. The end
// of ctx cuts no hint off, so it can take five seconds more.
func (h *Hinter) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			select {
			case <-h.wake:
				h.notify(ctx)
			default:
			}
			return
		case <-h.wake:
			h.notify(ctx)
		}
	}
}

// notify is a transaction of its own. Postgres does not wait for the disk when one
// has only notified (measured), so synchronous_commit need not be switched off.
func (h *Hinter) notify(ctx context.Context) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := h.db.ExecContext(limited, `SELECT pg_notify($1, $2)`, channel, h.take()); err != nil {
		h.log.DebugContext(limited, "hint not sent, the poll finds what it would have told", slog.Any("error", err))
	}
}

// take returns what waits as a payload: lanes with commas between, or nothing, which
// says "look everywhere", when there are too many.
func (h *Hinter) take() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var payload strings.Builder
	if len(h.waiting) <= maxHinted {
		for lane := range h.waiting {
			if payload.Len() > 0 {
				payload.WriteByte(',')
			}
			payload.WriteString(lane.EndpointID.String())
			if lane.Retry {
				payload.WriteString(retryMark)
			}
		}
	}
	clear(h.waiting)
	return payload.String()
}

// Listen passes hints on to heard until ctx ends, one call at a time: the
// lanes that have something new, or nil when it cannot be told which. nil also
// comes when the connection is there, for the first time or again, because hints
// may have been missed. A lost connection comes back by itself; one that is dead
// without a word is found by a ping every ten seconds. directURL must not lead
// through a transaction pooler.
func Listen(ctx context.Context, directURL string, log *slog.Logger, heard func([]Lane)) error {
	connected := make(chan struct{}, 1)
	l, err := postgres.NewListener(directURL, channel, func(err error) {
		if err != nil {
			if ctx.Err() == nil {
				log.WarnContext(ctx, "hints interrupted, polling goes on", slog.Any("error", err))
			}
			return
		}
		select {
		case connected <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer l.Close()
	ping := time.NewTicker(10 * time.Second)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-connected:
			heard(nil)
		case n := <-l.Notifications():
			if n != nil { // a reconnection, of which connected tells
				heard(hinted(n.Extra))
			}
		case <-ping.C:
			l.Ping()
		}
	}
}

// hinted reads a payload; nil when it names nothing that can be read.
func hinted(payload string) []Lane {
	if payload == "" {
		return nil
	}
	var lanes []Lane
	for name := range strings.SplitSeq(payload, ",") {
		name, retry := strings.CutSuffix(name, retryMark)
		id, err := uuid.Parse(name)
		if err != nil {
			return nil
		}
		lanes = append(lanes, Lane{id, retry})
	}
	return lanes
}
