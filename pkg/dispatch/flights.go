package dispatch

import (
	"maps"
	"sync"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// flights counts what is in flight, and wakes the claim loop when there is room
// again: for a fair share of a batch, or in a lane that was full. Waking for
// every single slot would make a busy dispatcher claim row by row.
//
// A delivery holds its slot from the claim until its result is recorded, because
// all that is not recorded may be sent again after a crash: so a crash repeats at
// most total deliveries. It holds a place in its lane only while the request is
// on its way.
type flights struct {
	total, perEndpoint int
	batch              int // room that is worth a claim
	wake               chan<- struct{}

	mu    sync.Mutex
	slots int
	lanes map[uuid.UUID]int
}

func newFlights(total, perEndpoint int, wake chan<- struct{}) *flights {
	return &flights{total: total, perEndpoint: perEndpoint, batch: max(1, total/4), wake: wake, lanes: map[uuid.UUID]int{}}
}

// room is what a claim may take now.
func (f *flights) room() outbox.Room {
	f.mu.Lock()
	defer f.mu.Unlock()
	return outbox.Room{Total: f.total - f.slots, PerEndpoint: f.perEndpoint, InFlight: maps.Clone(f.lanes)}
}

func (f *flights) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.slots
}

// roomForBatch says whether another claim at once would be worth it.
func (f *flights) roomForBatch() bool { return f.total-f.count() >= f.batch }

// begin takes a slot and a place in the lane.
func (f *flights) begin(c outbox.Claimed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slots++
	f.lanes[c.EndpointID]++
}

// land gives back the place in the lane: the request has ended.
func (f *flights) land(c outbox.Claimed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lane := f.lanes[c.EndpointID] - 1
	if lane == 0 {
		delete(f.lanes, c.EndpointID)
	} else {
		f.lanes[c.EndpointID] = lane
	}
	if lane == c.InFlightLimit/2 { // crossed once per fill, and only by a lane that may have left work behind
		poke(f.wake)
	}
}

// end gives back n slots: the deliveries are recorded, or their leases are not
// this process's any more.
func (f *flights) end(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.total - f.slots
	f.slots -= n
	if before < f.batch && f.total-f.slots >= f.batch {
		poke(f.wake)
	}
}

func poke(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
