package outbox

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/problem"
)

// What a replay sends again. What counts is the newest delivery of an event to an
// endpoint: one that still has work, or has been replayed by another since, is left alone.
const (
	ReplayFailed  = "failed"  // those that were given up
	ReplayMissing = "missing" // events that were never delivered to the endpoint, though they match it now
	ReplayAll     = "all"     // those that are over, sent or failed
)

// ReplayModes are the modes of a replay.
func ReplayModes() []string { return []string{ReplayFailed, ReplayMissing, ReplayAll} }

// The states of a replay. One that was only rehearsed is kept nowhere.
//
//	running ◄──► paused
//	   │            │
//	   ├──► done    │
//	   ├──► failed  │
//	   └────────────┴──► canceled
const (
	ReplayRunning   = "running"
	ReplayPaused    = "paused"
	ReplayDone      = "done"
	ReplayCanceled  = "canceled"
	ReplayGivenUp   = "failed"
	ReplayRehearsed = "dry_run"
)

const (
	defaultReplayRate = 100
	// MaxReplayRate is the most deliveries that a replay can make per second.
	MaxReplayRate  = 10_000
	maxReplayTypes = 50
	badRange       = "must be before until, and in the past"
)

// NewReplay is what somebody wants sent again. What is nil or empty limits nothing.
type NewReplay struct {
	Mode           string
	EndpointID     *uuid.UUID // required for the mode missing
	OrganizationID *uuid.UUID
	Statuses       []string
	EventTypes     []string
	Since          *time.Time // required
	Until          *time.Time // nil, or in the future: now
	RateLimit      *int       // deliveries made per second; nil: 100
	DryRun         bool       // count, and write nothing
}

// Replay is one that was asked for, and how far it is. Times are UTC.
type Replay struct {
	ID             uuid.UUID      `db:"id"`
	Mode           string         `db:"mode"`
	EndpointID     *uuid.UUID     `db:"endpoint_id"`
	OrganizationID *uuid.UUID     `db:"organization_id"`
	Statuses       pq.StringArray `db:"statuses"`
	EventTypes     pq.StringArray `db:"event_types"`
	Since          time.Time      `db:"since"`
	Until          time.Time      `db:"until"`
	RateLimit      int            `db:"rate_limit"`
	State          string         `db:"state"`
	FailureReason  *string        `db:"failure_reason"`
	Matched        *int64         `db:"matched"` // nil: counting took too long
	Created        int64          `db:"created"`
	RequestedBy    string         `db:"requested_by"`
	CreatedAt      time.Time      `db:"created_at"`
	UpdatedAt      time.Time      `db:"updated_at"`
	FinishedAt     *time.Time     `db:"finished_at"`
	Position       uuid.UUID      `db:"position"` // what is up to here is done
}

// Over says whether nothing more will come of it.
func (r Replay) Over() bool { return r.State != ReplayRunning && r.State != ReplayPaused }

// ReachedAt is the time of the events up to which all is done.
func (r Replay) ReachedAt() time.Time {
	if r.State == ReplayDone {
		return r.Until
	}
	return time.UnixMilli(ms(r.Position)).UTC()
}

// ended are the statuses that the newest delivery of what is replayed may have.
func (r Replay) ended() pq.StringArray {
	switch {
	case len(r.Statuses) > 0:
		return r.Statuses
	case r.Mode == ReplayFailed:
		return pq.StringArray{string(Failed)}
	default:
		return pq.StringArray{string(Sent), string(Failed)}
	}
}

func (r *Replay) inUTC() {
	r.Since, r.Until, r.CreatedAt, r.UpdatedAt = r.Since.UTC(), r.Until.UTC(), r.CreatedAt.UTC(), r.UpdatedAt.UTC()
	if r.FinishedAt != nil {
		at := r.FinishedAt.UTC()
		r.FinishedAt = &at
	}
}

// at is the replay as it begins; now is when it was asked for.
func (n NewReplay) at(now time.Time) (Replay, error) {
	if wrong := n.Check(); len(wrong) > 0 {
		return Replay{}, problem.Invalid(wrong...)
	}
	r := Replay{
		Mode: n.Mode, EndpointID: n.EndpointID, OrganizationID: n.OrganizationID, Statuses: n.Statuses, EventTypes: n.EventTypes,
		Since: stored(*n.Since), Until: now, RateLimit: defaultReplayRate, State: ReplayRunning, CreatedAt: now, UpdatedAt: now,
	}
	if n.DryRun {
		r.State = ReplayRehearsed
	}
	if n.Until != nil && n.Until.Before(now) {
		r.Until = stored(*n.Until)
	}
	if n.RateLimit != nil {
		r.RateLimit = *n.RateLimit
	}
	if !r.Since.Before(r.Until) {
		return Replay{}, problem.Invalid(problem.Field{Field: "since", Code: "invalid_range", Detail: badRange})
	}
	r.Position = msFloor(r.Since.UnixMilli())
	return r, nil
}

// stored is what the database can hold of a time.
func stored(at time.Time) time.Time { return at.UTC().Truncate(time.Microsecond) }

// Check returns all that is wrong with n and can be told without the database.
func (n NewReplay) Check() (wrong []problem.Field) {
	refuse := func(field, code, detail string) {
		wrong = append(wrong, problem.Field{Field: field, Code: code, Detail: detail})
	}
	switch {
	case n.Mode == "":
		refuse("mode", "required", "give failed, missing or all")
	case !slices.Contains(ReplayModes(), n.Mode):
		refuse("mode", "invalid_mode", "use failed, missing or all")
	case n.Mode == ReplayMissing && n.EndpointID == nil:
		refuse("endpoint_id", "required", "name the endpoint that misses events")
	}
	switch {
	case n.Since == nil:
		refuse("since", "required", "give the time of the first event")
	case n.Until != nil && !n.Since.Before(*n.Until):
		refuse("since", "invalid_range", badRange)
	}
	if n.RateLimit != nil && (*n.RateLimit < 1 || *n.RateLimit > MaxReplayRate) {
		refuse("rate_limit", "out_of_range", fmt.Sprintf("use a whole number from 1 to %d", MaxReplayRate))
	}
	n.checkStatuses(refuse)
	n.checkEventTypes(refuse)
	return wrong
}

func (n NewReplay) checkEventTypes(refuse func(field, code, detail string)) {
	if n.EventTypes != nil && len(n.EventTypes) == 0 { // which could mean none, or all
		refuse("event_types", "required", "name one at least, or leave it out for all")
	}
	if len(n.EventTypes) > maxReplayTypes {
		refuse("event_types", "too_many", fmt.Sprintf("give at most %d", maxReplayTypes))
		return
	}
	for i, t := range n.EventTypes {
		if !slices.Contains(event.Types(), t) {
			refuse(fmt.Sprintf("event_types[%d]", i), "unknown_event_type", "name an event type that exists")
		}
	}
}

func (n NewReplay) checkStatuses(refuse func(field, code, detail string)) {
	if n.Mode == ReplayMissing && len(n.Statuses) > 0 {
		refuse("statuses", "not_allowed", "leave them out: what is missing has no status")
		return
	}
	if n.Statuses != nil && len(n.Statuses) == 0 {
		refuse("statuses", "required", "name one at least, or leave it out for all")
	}
	if len(n.Statuses) > maxReplayTypes {
		refuse("statuses", "too_many", fmt.Sprintf("give at most %d", maxReplayTypes))
		return
	}
	for i, s := range n.Statuses {
		switch {
		case s != string(Sent) && s != string(Failed):
			refuse(fmt.Sprintf("statuses[%d]", i), "invalid_status", "use sent or failed: what is pending or retrying is on its way")
		case s != string(Failed) && n.Mode == ReplayFailed:
			refuse(fmt.Sprintf("statuses[%d]", i), "not_allowed", "use the mode all for what was sent")
		}
	}
}
