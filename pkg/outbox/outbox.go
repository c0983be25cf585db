// Package outbox owns the tables events, deliveries, attempts, queue, lanes,
// late_results and delivery_stats: it publishes events inside the caller's
// transaction, finds and claims due deliveries, settles what became of them, keeps
// the circuit breakers and the statistics, and checks its own books.
//
// A delivery is one event on its way to one endpoint:
//
//	          ┌──────────────► sent
//	pending ──┤                 ▲
//	          ├──► retrying ────┤   (retrying ► retrying on every failure)
//	          │        │        │
//	          └────────┴──────► failed   (failure_reason says why)
//
// By hand, what has failed goes back to retrying, or to pending if no attempt was made,
// and what waits ends as failed; see [Deliveries].
//
// In flight is not a status but a lease on the queue row: claiming writes
// lease_until and a lease token. A lease that ends is simply no lease, so a crash
// needs no clean-up, and a result is applied only under the token that it was
// claimed with.
//
// The queue has two lanes for each endpoint, one of first attempts and one of
// retries. A claim names its lanes and reads nothing else, so its cost does not
// depend on how many endpoints or deliveries there are. Which lanes have work is
// found in three ways: a hint names them, [Arrivals] sees what is new, and
// [Sweep], which is rare, misses nothing.
package outbox

import (
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// Status is the state of a delivery.
type Status string

// The four states of a delivery.
const (
	Pending  Status = "pending"
	Retrying Status = "retrying"
	Sent     Status = "sent"
	Failed   Status = "failed"
)

// LeaseMargin is how much longer than the endpoint's timeout a lease lasts: the
// time to begin the attempt after the claim, and to settle it afterwards, also
// over a restart of Postgres.
const LeaseMargin = 15 * time.Second

// settleMargin is the part of it that is kept for settling.
const settleMargin = 5 * time.Second

// Lane is the first attempts, or the retries, to one endpoint.
type Lane struct {
	EndpointID uuid.UUID `db:"endpoint_id"`
	Retry      bool      `db:"retry"`
}

// Claimed is a delivery under a lease.
type Claimed struct {
	Lane
	DeliveryID   uuid.UUID `db:"delivery_id"`
	EventID      uuid.UUID `db:"event_id"`
	EventType    string    `db:"event_type"`
	EventTime    time.Time `db:"event_time"`
	Payload      []byte    `db:"payload"` // exactly what is sent
	Test         bool      `db:"test"`    // says nothing of how the endpoint does
	AttemptCount int       `db:"attempt_count"`
	MaxAttempts  int       `db:"max_attempts"`

	OrganizationID  uuid.NullUUID `db:"organization_id"`  // set when the organization's deliveries go one after another
	DueAt           time.Time     `db:"due_at"`           // by the database's clock
	EndpointVersion int64         `db:"endpoint_version"` // changes with every setting of the endpoint
	TookOver        bool          `db:"took_over"`        // an earlier lease ended without a result: a possible duplicate
	Troubled        bool          `db:"troubled"`         // the endpoint has failed since its last success

	Token     int64     // the fence
	ClaimedAt time.Time // by this host's clock, before the claim
	StartAt   time.Time // by this host's clock, when its turn is (rate limit, recovery): never before the database's
	leaseEnd  time.Time // by the monotonic clock, never later than the database's
}

// MayStart says whether an attempt that begins now and takes up to timeout is
// over, and can be settled, within the lease, so that no other dispatcher can be
// sending the same delivery meanwhile. A process that was stopped and continued
// finds here that it is too late.
func (c Claimed) MayStart(now time.Time, timeout time.Duration) bool {
	return now.Add(timeout + settleMargin).Before(c.leaseEnd)
}

// Trace tells how one request went.
type Trace struct {
	Clock                        int64         // its webhook-timestamp
	Address                      netip.Addr    // of the receiver; not set: not known
	DNS, Connect, TLS, FirstByte time.Duration // 0: did not happen
}

// Result is what became of one attempt.
type Result struct {
	Claimed
	Trace

	StartedAt time.Time     // by the monotonic clock; the database's clock dates it
	Took      time.Duration // from the start of the request to the end of the answer

	HTTPStatus        int    // 0: no answer
	Reason            string // "" on success
	Error             string // "" on success
	ResponseHeaders   postgres.JSON
	ResponseBody      string
	ResponseTruncated bool

	Status        Status        // Sent, Retrying or Failed
	FailureReason string        // when Failed
	RetryIn       time.Duration // when Retrying, from the settling on
	RetryAfter    time.Duration // when Retrying because the receiver asked for that; 0: by the schedule
}
