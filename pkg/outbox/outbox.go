// Package outbox owns the tables events, deliveries, attempts, queue and
// late_results: it publishes events inside the caller's transaction, claims due
// deliveries, settles what became of them, and checks its own books.
//
// A delivery is one event on its way to one endpoint:
//
//	          ┌──────────────► sent
//	pending ──┤                 ▲
//	          ├──► retrying ────┤   (retrying ► retrying on every failure)
//	          │        │        │
//	          └────────┴──────► failed   (failure_reason says why)
//
// In flight is not a status but a lease on the queue row: claiming pushes due_at
// to the end of the lease and sets a lease token. A lease that ends is simply
// due again, so a crash needs no clean-up, and a result is applied only under
// the token that it was claimed with.
package outbox

import (
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
// time to begin the attempt after the claim, and to settle it afterwards.
const LeaseMargin = 30 * time.Second

// Claimed is a delivery under a lease, with all that an attempt needs.
type Claimed struct {
	DeliveryID   uuid.UUID     `db:"delivery_id"`
	EventID      uuid.UUID     `db:"event_id"`
	EventType    string        `db:"event_type"`
	EventTime    time.Time     `db:"event_time"`
	Payload      postgres.JSON `db:"payload"`
	AttemptCount int           `db:"attempt_count"`
	MaxAttempts  int           `db:"max_attempts"`

	EndpointID     uuid.UUID `db:"endpoint_id"`
	URL            string    `db:"url"`
	TimeoutSeconds int       `db:"timeout_seconds"`
	InFlightLimit  int       `db:"in_flight_limit"` // of the endpoint, in one process
	Secret         string    `db:"secret"`          // envelope, "" when unsigned
	PreviousSecret string    `db:"previous_secret"` // envelope, "" unless a rotation overlaps

	Token   int64     `db:"-"` // the fence
	leaseAt time.Time // by the monotonic clock, before the lease was asked for
}

// Timeout is the deadline of one attempt.
func (c Claimed) Timeout() time.Duration { return time.Duration(c.TimeoutSeconds) * time.Second }

// MayStart says whether an attempt that begins now ends within the lease, so
// that no other dispatcher can be sending the same delivery meanwhile. A process
// that was stopped and continued finds here that it is too late.
func (c Claimed) MayStart(now time.Time) bool {
	return now.Sub(c.leaseAt) < LeaseMargin/2
}

// Result is what became of one attempt.
type Result struct {
	Claimed

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
}
