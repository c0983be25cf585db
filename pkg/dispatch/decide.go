package dispatch

import (
	"net/http"
	"time"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// Failure reasons of a delivery that was given up; the dead-letter queue.
const (
	reasonExhausted = event.Exhausted
	reasonGone      = "gone" // the receiver answered 410
	reasonBlocked   = event.BlockedAddress
)

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = 24 * time.Hour

// outcome is what becomes of a delivery after an attempt.
type outcome struct {
	status        outbox.Status
	failureReason string        // when failed
	retryIn       time.Duration // when retrying
	asked         time.Duration // the same, when the receiver asked for it and the schedule would be shorter
	gone          bool          // the endpoint wants no more
}

// decide says what becomes of a delivery whose attempt number of max ended with
// r; delay is the schedule's wait after that attempt. No clock, no I/O.
//
// Only 2xx is success. 410 ends it at once. Everything else is tried again, also
// the 4xx that blame the sender: receivers do mend their 401s and 404s.
func decide(r webhook.Result, number, maxAttempts int, delay time.Duration) outcome {
	switch {
	case r.Reason == "":
		return outcome{status: outbox.Sent}
	case r.StatusCode == http.StatusGone:
		return outcome{status: outbox.Failed, failureReason: reasonGone, gone: true}
	case number < maxAttempts:
		if asked := asked(r); asked > delay {
			return outcome{status: outbox.Retrying, retryIn: asked, asked: asked}
		}
		return outcome{status: outbox.Retrying, retryIn: delay}
	case r.Reason == webhook.BlockedAddress:
		return outcome{status: outbox.Failed, failureReason: reasonBlocked}
	default:
		return outcome{status: outbox.Failed, failureReason: reasonExhausted}
	}
}

// asked is the Retry-After of the two answers that RFC 9110 and RFC 6585 define
// it for. It can only delay: decide takes the larger of it and the schedule.
func asked(r webhook.Result) time.Duration {
	if r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	return min(r.RetryAfter, maxRetryAfter)
}
