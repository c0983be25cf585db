package dispatch

import (
	"maps"
	"sync"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// flights counts the attempts in flight, and wakes the claim loop when there is
// room again: for a fair share of a batch, or in a lane that was full. Waking for
// every single slot would make a busy dispatcher claim row by row.
type flights struct {
	total, perEndpoint int
	batch              int // room that is worth a claim
	wake               chan<- struct{}

	mu       sync.Mutex
	inFlight int
	lanes    map[uuid.UUID]int
}

func newFlights(total, perEndpoint int, wake chan<- struct{}) *flights {
	return &flights{total: total, perEndpoint: perEndpoint, batch: max(1, total/4), wake: wake, lanes: map[uuid.UUID]int{}}
}

// room is what a claim may take now.
func (f *flights) room() outbox.Room {
	f.mu.Lock()
	defer f.mu.Unlock()
	return outbox.Room{Total: f.total - f.inFlight, PerEndpoint: f.perEndpoint, InFlight: maps.Clone(f.lanes)}
}

func (f *flights) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inFlight
}

// roomForBatch says whether another claim at once would be worth it.
func (f *flights) roomForBatch() bool { return f.total-f.count() >= f.batch }

func (f *flights) begin(c outbox.Claimed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight++
	f.lanes[c.EndpointID]++
}

func (f *flights) end(c outbox.Claimed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
	lane := f.lanes[c.EndpointID] - 1
	if lane == 0 {
		delete(f.lanes, c.EndpointID)
	} else {
		f.lanes[c.EndpointID] = lane
	}
	// Each threshold is crossed downwards once per fill, and only by those that
	// were full enough to have left work behind.
	if f.total-f.inFlight == f.batch || lane == c.InFlightLimit/2 {
		poke(f.wake)
	}
}

func poke(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
