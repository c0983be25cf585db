package endpoint

import (
	"fmt"

	"github.com/sonicus/webhooks/pkg/problem"
)

// retries is how many there are: where nobody says so, one for every wait of the
// endpoint's own schedule.
func (n New) retries() int {
	if n.MaxRetries == nil && n.RetrySchedule != nil {
		return len(n.RetrySchedule)
	}
	return valueOr(n.MaxRetries, defaultRetries)
}

// checkSchedule takes one that may be left out: nil passes.
func checkSchedule(waits []int) []problem.Field {
	switch {
	case waits == nil:
		return nil
	case len(waits) == 0:
		return wrong("retry_schedule", "required", "give at least one wait in seconds, or leave it out for the dispatcher's own schedule")
	case len(waits) > maxWaits:
		return wrong("retry_schedule", "too_many", fmt.Sprintf("give at most %d waits", maxWaits))
	}
	var found []problem.Field
	for i, wait := range waits {
		found = append(found, CheckRange(fmt.Sprintf("retry_schedule[%d]", i), &wait, RetryWait)...)
	}
	return found
}
