package outbox

import (
	"fmt"
	"time"
)

// Next tells when a delivery is tried again, and why then.
type Next struct {
	At      *time.Time // UTC, at the earliest; nil: it depends on something that has no date
	Because string     // one of Becauses
	Detail  string     // the same as a sentence
}

// What a next attempt depends on: the first of these that holds.
const (
	becauseInFlight  = "in_flight"
	becauseDeleted   = "endpoint_deleted"
	becauseDisabled  = "endpoint_disabled"
	becausePaused    = "endpoint_paused"
	becauseTurn      = "waits_for_turn"
	becauseBreaker   = "breaker_open"
	becausePace      = "paced"
	becauseLeaseOver = "lease_ended"
	becauseFirst     = "first_attempt"
	becausePostponed = "postponed"
	becauseRequest   = "requested"
	becauseAsked     = "retry_after"
	becauseSchedule  = "schedule"
)

// Becauses are the words for what a next attempt can depend on.
func Becauses() []string {
	return []string{
		becauseInFlight, becauseDeleted, becauseDisabled, becausePaused, becauseTurn, becauseBreaker, becausePace,
		becauseLeaseOver, becauseFirst, becausePostponed, becauseRequest, becauseAsked, becauseSchedule,
	}
}

// waiting is what decides about a delivery's next attempt.
type waiting struct {
	Now          time.Time  `db:"now"`
	Queued       bool       `db:"queued"`
	DueAt        *time.Time `db:"due_at"` // nil: another has to be done first
	LeaseUntil   *time.Time `db:"lease_until"`
	Active       bool       `db:"is_active"`
	PausedAt     *time.Time `db:"paused_at"`
	DeletedAt    *time.Time `db:"deleted_at"`
	RateLimit    *int       `db:"rate_limit"`
	OwnSchedule  bool       `db:"own_schedule"` // of retries
	BreakerUntil *time.Time `db:"breaker_until"`
	PacedUntil   *time.Time `db:"paced_until"`

	// Of the last attempt.
	EndedAt    *time.Time `db:"ended_at"`
	Traced     bool       `db:"traced"` // what follows was recorded
	RetryIn    *float64   `db:"retry_in"`
	RetryAfter *float64   `db:"retry_after"`
}

// next decides as a claim does. No clock, no I/O.
func (w waiting) next(d Delivery) *Next {
	switch {
	case !w.Queued:
		return nil
	case w.LeaseUntil != nil && w.LeaseUntil.After(w.Now):
		return because(becauseInFlight, w.LeaseUntil,
			fmt.Sprintf("Attempt %d is being made. If nothing is recorded of it by then, it is made again.", d.AttemptCount+1))
	case w.DeletedAt != nil:
		return because(becauseDeleted, nil, "The endpoint is deleted, and this delivery is about to end as failed.")
	case !w.Active:
		return because(becauseDisabled, nil, "The endpoint is switched off. The delivery waits until it is switched on.")
	case w.PausedAt != nil:
		return because(becausePaused, nil, "The endpoint is paused. The delivery waits until it is resumed.")
	case w.DueAt == nil:
		return because(becauseTurn, nil, "The endpoint gets the deliveries of an organization one after another, and another one has to be done first.")
	case w.later(w.BreakerUntil):
		return because(becauseBreaker, w.BreakerUntil, "The receiver has failed too often: its circuit breaker is open until then, when one delivery is let through as a probe.")
	case w.later(w.PacedUntil):
		return because(becausePace, w.PacedUntil, w.pace())
	default:
		return w.due(d)
	}
}

// later says whether something lies after the delivery's own time, and in the future.
func (w waiting) later(at *time.Time) bool { return at != nil && at.After(*w.DueAt) && at.After(w.Now) }

func (w waiting) pace() string {
	if w.RateLimit == nil {
		return "The receiver is recovering: what has waited for it goes out at a pace that grows, and all up to then is given out."
	}
	return fmt.Sprintf("The endpoint gets %d a second at the most, and all up to then is given out.", *w.RateLimit)
}

// due explains the delivery's own time.
func (w waiting) due(d Delivery) *Next {
	switch {
	case w.LeaseUntil != nil:
		return because(becauseLeaseOver, latest(w.LeaseUntil, w.DueAt), "A dispatcher had taken it, and nothing was recorded by the end of its lease; the receiver may have been sent it.")
	case d.Status == Pending && w.DueAt.After(w.Now):
		return because(becausePostponed, w.DueAt, "A dispatcher could not begin, and has put it off without spending an attempt; its log says why.")
	case d.Status == Pending:
		return because(becauseFirst, w.DueAt, "The first attempt is due.")
	case !w.Traced:
		return because(becauseSchedule, w.DueAt, fmt.Sprintf("Retry %d of %d, by the schedule.", d.AttemptCount, d.MaxAttempts-1))
	case w.RetryIn == nil || w.DueAt.Before(w.EndedAt.Add(inSeconds(*w.RetryIn)-accuracy)):
		return because(becauseRequest, w.DueAt, fmt.Sprintf("Attempt %d was asked for by hand, before its time.", d.AttemptCount+1))
	case w.RetryAfter != nil:
		return because(becauseAsked, w.DueAt, fmt.Sprintf("Retry %d of %d: the receiver asked to be left alone for %s after attempt %d (Retry-After), which is longer than the schedule's wait.",
			d.AttemptCount, d.MaxAttempts-1, inSeconds(*w.RetryAfter), d.AttemptCount))
	default:
		return because(becauseSchedule, w.DueAt, fmt.Sprintf("Retry %d of %d: %s after attempt %d, by %s, with its jitter.",
			d.AttemptCount, d.MaxAttempts-1, inSeconds(*w.RetryIn), d.AttemptCount, w.schedule()))
	}
}

func (w waiting) schedule() string {
	if w.OwnSchedule {
		return "the endpoint's own schedule"
	}
	return "the dispatchers' schedule, whose waits grow exponentially"
}

// accuracy is that of what is recorded of waits, which may be of a day.
const accuracy = 100 * time.Millisecond

func inSeconds(s float64) time.Duration { return seconds(s).Round(accuracy) }

func because(code string, at *time.Time, detail string) *Next {
	n := &Next{Because: code, Detail: detail}
	if at != nil {
		utc := at.UTC()
		n.At = &utc
	}
	return n
}

func latest(a, b *time.Time) *time.Time {
	if a.After(*b) {
		return a
	}
	return b
}
