package dispatch

import (
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
)

const (
	// firstWindow is how many requests a receiver gets at once before it has
	// answered any: one that hangs from the start holds no more.
	firstWindow = 4
	// ahead is for how long a claim supplies a receiver, by its observed latency: a
	// claim for many deliveries costs little more than one for few, and what is
	// claimed beyond that would only grow old.
	ahead = 40 * time.Millisecond
	// aheadMost bounds that for one receiver.
	aheadMost = 512
	// askEvery is how often a busy receiver's lanes are asked for a few deliveries;
	// for half of what it takes they are asked at once.
	askEvery = 10 * time.Millisecond
	// staleAfter is how long a claimed delivery may wait for a receiver that has
	// become slow; then it is given back.
	staleAfter = time.Second
)

// receiver is what this process knows of one endpoint's receiver. How many
// requests it gets at once is a window that opens by one with every success and
// halves with every failure, as in TCP.
type receiver struct {
	limit   int  // requests in flight, at most
	window  int  // requests in flight, now
	proven  bool // the last request that ended was a success
	paced   bool // a rate limit or a recovery holds it back
	slow    bool // what was claimed ahead was given back, and no success has come since
	latency time.Duration

	coming   int              // asked for by the claim that is under way
	waiting  []outbox.Claimed // claimed; their requests have not begun
	sending  int              // requests in flight
	full     []*lane          // lanes that are asked again when there is room
	stalled  bool             // some could begin if there were a slot
	lastAsk  time.Time
	idleFrom time.Time // when the last of all that ended
}

func newReceiver(limit int) *receiver {
	return &receiver{limit: limit, window: min(firstWindow, limit)}
}

// held is how many deliveries this process has for the receiver, from the claim to
// the end of the request.
func (r *receiver) held() int { return r.coming + len(r.waiting) + r.sending }

// supply is how many deliveries should be at hand: a window's worth, and what the
// receiver answers while the next claim is under way. Where there is a pace, each
// has its time, which must not pass while it waits for its turn. Nothing is claimed
// ahead, either, after that was in vain: requests that hang have no latency yet, and
// what would be claimed again and again could not be had by other dispatchers.
func (r *receiver) supply(window int) int {
	if r.latency == 0 || !r.proven || r.paced || r.slow {
		return window
	}
	return r.window + min(aheadMost, int(time.Duration(r.window)*ahead/r.latency))
}

// wants is how many more deliveries to claim while so many requests may be in
// flight: now for those that begin at once, each of which takes a slot, and more for
// those that follow them.
func (r *receiver) wants(window int) (now, more int) {
	if window == 0 {
		return 0, 0
	}
	now = max(0, window-r.held())
	return now, max(0, r.supply(window)-r.held()-now)
}

// askAt is when a lane that was refused for want of room is asked again.
func (r *receiver) askAt(now time.Time) time.Time {
	if r.held() <= r.supply(r.window)/2 {
		return now
	}
	return latest(now, r.lastAsk.Add(askEvery))
}

// learn adjusts the window after a request.
func (r *receiver) learn(took time.Duration, success bool) {
	r.proven = success
	if !success {
		r.window = max(min(firstWindow, r.limit), r.window/2)
		return
	}
	r.slow = false
	r.window = min(r.limit, r.window+1)
	if r.latency == 0 {
		r.latency = took
	}
	r.latency = max(r.latency+(took-r.latency)/8, time.Microsecond)
}

// hasNext says whether a waiting delivery has room for its request.
func (r *receiver) hasNext() bool { return len(r.waiting) > 0 && r.sending < r.window }

// next takes the delivery that has waited longest.
func (r *receiver) next() outbox.Claimed {
	c := r.waiting[0]
	r.waiting = r.waiting[1:]
	if len(r.waiting) == 0 {
		r.waiting = nil // lets go of the payloads
	}
	r.sending++
	return c
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
