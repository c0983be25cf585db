package dispatch

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// floor is a lanes with a clock of the test's own.
type floor struct {
	*lanes
	t    *testing.T
	now  time.Time
	wake chan struct{}
}

func newFloor(t *testing.T, total, perEndpoint int) *floor {
	wake := make(chan struct{}, 1)
	return &floor{newLanes(total, perEndpoint, wake), t, time.Unix(1_000_000, 0), wake}
}

func first(id byte) outbox.Lane { return outbox.Lane{EndpointID: uuid.UUID{15: id}} }
func retry(id byte) outbox.Lane { return outbox.Lane{EndpointID: uuid.UUID{15: id}, Retry: true} }

// work notes that lanes have something due now.
func (f *floor) work(keys ...outbox.Lane) {
	for _, k := range keys {
		f.note(k, time.Time{}, f.now)
	}
}

// claim asks, and answers each ask with as much as the queue holds; what it takes
// it takes from there.
func (f *floor) claim(queue map[outbox.Lane]int) (claimed []outbox.Claimed) {
	f.now = f.now.Add(askEvery)
	asks, _ := f.asks(f.now)
	var visits []outbox.Visit
	for _, a := range asks {
		n := min(a.Most, queue[a.Lane])
		queue[a.Lane] -= n
		visits = append(visits, outbox.Visit{Lane: a.Lane, Taken: n})
		for range n {
			claimed = append(claimed, outbox.Claimed{Lane: a.Lane, DeliveryID: uuid.New(), ClaimedAt: f.now})
		}
	}
	f.answered(f.now, asks, visits)
	return claimed
}

// drain claims until nothing more comes, begins the requests, and returns how many
// each endpoint holds. Nothing lands.
func (f *floor) drain(queue map[outbox.Lane]int) map[uuid.UUID]int {
	held := map[uuid.UUID]int{}
	for range 100 {
		for _, c := range f.claim(queue) {
			f.arrived(c)
			held[c.EndpointID]++
		}
	}
	return held
}

// prove makes a receiver known as one that answers, in 100 ms.
func (f *floor) prove(id byte, successes int) {
	for range successes {
		f.arrived(outbox.Claimed{Lane: first(id)})
		f.landed(f.now, uuid.UUID{15: id}, 100*time.Millisecond, true, true)
		f.end(1)
	}
}

func TestReceiversThatHangFromTheStartLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 256, 32)
	queue := map[outbox.Lane]int{}
	for id := range byte(100) {
		queue[first(id)] = 1000
		f.work(first(id))
	}
	held := f.drain(queue)
	total := 0
	for id, n := range held {
		total += n
		if n > firstWindow {
			t.Errorf("%s holds %d slots without ever having answered", id, n)
		}
	}
	if total != 224 {
		t.Errorf("receivers that never answered hold %d of 256 slots, want seven eighths", total)
	}
	f.prove(200, 8)
	f.work(first(200))
	if n := f.drain(map[outbox.Lane]int{first(200): 10})[uuid.UUID{15: 200}]; n == 0 {
		t.Error("a receiver that answers gets nothing of the reserve")
	}
}

func TestRetriesCannotHoldTheLastSlots(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 64, 32)
	for id := range byte(8) {
		f.prove(id, 40)
		f.work(retry(id))
	}
	queue := map[outbox.Lane]int{}
	for id := range byte(8) {
		queue[retry(id)] = 1000
	}
	f.drain(queue)
	if f.used != 48 {
		t.Fatalf("retries hold %d of 64 slots, want three quarters", f.used)
	}
	f.prove(9, 8)
	f.work(first(9))
	if n := f.drain(map[outbox.Lane]int{first(9): 3})[uuid.UUID{15: 9}]; n != 3 {
		t.Errorf("%d of 3 first attempts were claimed beside waiting retries", n)
	}
}

func TestFirstEventOfANewReceiverDoesNotWaitBehindRetries(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 256, 32)
	queue := map[outbox.Lane]int{}
	for id := range byte(60) {
		queue[retry(id)] = 1000
		f.work(retry(id))
	}
	f.drain(queue)
	for id := byte(100); id < 140; id++ {
		queue[first(id)] = 10
		f.work(first(id))
	}
	held := f.drain(queue)
	strangers := 0
	for id := byte(100); id < 140; id++ {
		strangers += f.receiverOf(uuid.UUID{15: id}).sending
	}
	if strangers != 32 || held[uuid.UUID{15: 100}] != 1 {
		t.Errorf("%d new receivers get their first request, %d by the first of them; want an eighth of 256, one each", strangers, held[uuid.UUID{15: 100}])
	}
}

// Each claimed delivery of a paced receiver has its time: what waits would be sent
// in a burst.
func TestPacedReceiverIsSuppliedWithNoMoreThanBegins(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 256, 8)
	f.prove(1, 20)
	f.work(first(1))
	f.now = f.now.Add(time.Second)
	asks, _ := f.asks(f.now)
	if len(asks) != 1 || asks[0].Most <= 8 {
		t.Fatalf("asked %v, want more than the 8 that begin at once", asks)
	}
	f.answered(f.now, asks, []outbox.Visit{{Lane: first(1), AgainIn: 10 * time.Millisecond}})
	f.now = f.now.Add(time.Second)
	if asks, _ := f.asks(f.now); len(asks) != 1 || asks[0].Most != 8 {
		t.Errorf("asked %v, want the 8 that begin at once", asks)
	}
}

func TestWindowOpensWithSuccessAndHalvesWithFailure(t *testing.T) {
	t.Parallel()
	r := newReceiver(32)
	for range 100 {
		r.learn(time.Second, true)
	}
	if r.window != 32 || !r.proven {
		t.Errorf("window %d, want the limit", r.window)
	}
	r.learn(time.Second, false)
	if r.window != 16 || r.proven {
		t.Errorf("window %d after a failure, want 16", r.window)
	}
	for range 10 {
		r.learn(time.Second, false)
	}
	if r.window != firstWindow {
		t.Errorf("window %d after many failures, want %d", r.window, firstWindow)
	}
	if small := newReceiver(1); small.window != 1 {
		t.Errorf("window %d beyond a limit of 1", small.window)
	}
}

func TestSupplyFollowsTheObservedLatency(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		latency time.Duration
		want    int
	}{"unknown": {0, 32}, "slow": {10 * time.Second, 32}, "quick": {40 * time.Millisecond, 64}, "very quick": {time.Millisecond, 544}} {
		r := &receiver{limit: 32, window: 32, latency: c.latency, proven: true}
		if got := r.supply(32); got != c.want {
			t.Errorf("%s: %d deliveries at hand, want %d", name, got, c.want)
		}
	}
}

func TestLanesThatAreAlwaysReadyTakeTurns(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 8, 1)
	queue, turns := map[outbox.Lane]int{}, map[outbox.Lane]int{}
	for id := range byte(200) {
		queue[first(id)] = 1000
		f.work(first(id))
	}
	for range 400 {
		for _, c := range f.claim(queue) {
			turns[c.Lane]++
			f.arrived(c)
			f.landed(f.now, c.EndpointID, time.Millisecond, true, true)
			f.end(1)
		}
	}
	low, high := 1<<30, 0
	for id := range byte(200) {
		low, high = min(low, turns[first(id)]), max(high, turns[first(id)])
	}
	if low == 0 || high > 2*low {
		t.Errorf("lanes had from %d to %d turns", low, high)
	}
}

func TestWorkToldOfDuringAClaimIsNotForgotten(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 8, 8)
	f.work(first(1))
	f.now = f.now.Add(time.Second)
	asks, _ := f.asks(f.now)
	f.work(first(1)) // committed after the claim's snapshot
	f.answered(f.now, asks, []outbox.Visit{{Lane: first(1)}})
	f.now = f.now.Add(time.Second)
	if again, _ := f.asks(f.now); len(again) != 1 {
		t.Error("the lane is not asked again")
	}
}

func TestEarlierWorkToldOfDuringAClaimIsNotOverlooked(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 8, 8)
	early := time.Unix(2_000_000, 0)
	f.note(first(1), early.Add(time.Minute), f.now)
	f.now = f.now.Add(time.Second)
	asks, _ := f.asks(f.now)
	f.note(first(1), early, f.now) // a lease that has ended
	f.answered(f.now, asks, []outbox.Visit{{Lane: first(1), Taken: 1, Since: early.Add(2 * time.Minute)}})
	f.now = f.now.Add(time.Second)
	if asks, _ = f.asks(f.now); len(asks) != 1 || !asks[0].Since.Equal(early) {
		t.Errorf("asked %v, want from %v on", asks, early)
	}
}

// A lane that was passed over comes back, once, and with it what was counted for it.
func TestLanePassedOverIsNotForgotten(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 16, 8)
	hanging := map[outbox.Lane]int{}
	for id := range byte(8) {
		hanging[first(id)] = 100
		f.work(first(id))
	}
	f.drain(hanging)
	for round := range byte(3) {
		key := first(50 + round)
		f.work(key)
		f.claim(map[outbox.Lane]int{key: 1})
		f.now = f.now.Add(time.Hour)
		f.stale(f.now, staleAfter)
		f.work(key)
		for id, r := range f.receivers {
			for r.sending > 0 {
				f.landed(f.now, id, time.Second, true, false)
				f.end(1)
			}
		}
		f.now = f.now.Add(time.Second)
		asks, _ := f.asks(f.now)
		asked := map[outbox.Lane]int{}
		for _, a := range asks {
			if asked[a.Lane]++; asked[a.Lane] > 1 {
				t.Errorf("%v is asked twice in one claim", a.Lane)
			}
		}
		if asked[key] != 1 {
			t.Errorf("%v is not asked: %v", key, asks)
		}
		f.failed(f.now, asks)
		f.drain(hanging)
	}
	for id, r := range f.receivers {
		for r.sending > 0 {
			f.landed(f.now, id, time.Second, true, false)
			f.end(1)
		}
	}
	if f.flying != 0 || f.used != 0 {
		t.Errorf("%d in flight and %d slots used when all is over", f.flying, f.used)
	}
}

func TestFailedClaimGivesItsSlotsBackAndAsksAgain(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 8, 8)
	f.work(first(1), first(2))
	f.now = f.now.Add(time.Second)
	asks, _ := f.asks(f.now)
	if len(asks) != 2 || f.flying == 0 {
		t.Fatalf("%d asks, %d slots", len(asks), f.flying)
	}
	f.failed(f.now, asks)
	if f.flying != 0 || f.ahead != 0 {
		t.Errorf("%d slots are still taken", f.count())
	}
	f.now = f.now.Add(time.Second)
	if again, _ := f.asks(f.now); len(again) != 2 {
		t.Errorf("%d lanes are asked again, want 2", len(again))
	}
}

func TestHeldBackLaneIsAskedWhenItsTimeHasCome(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 8, 8)
	f.work(first(1))
	f.now = f.now.Add(time.Second)
	asks, _ := f.asks(f.now)
	f.answered(f.now, asks, []outbox.Visit{{Lane: first(1), AgainIn: time.Minute}})
	asks, again := f.asks(f.now.Add(30 * time.Second))
	if len(asks) != 0 || !again.Equal(f.now.Add(time.Minute)) {
		t.Errorf("%d asks too early, next look %v", len(asks), again.Sub(f.now))
	}
	if asks, _ := f.asks(f.now.Add(2 * time.Minute)); len(asks) != 1 {
		t.Error("not asked when its time has come")
	}
}

// Whatever waits for a receiver that has become slow goes back, and its lane looks
// at it again.
func TestStaleDeliveriesAreGivenBack(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 256, 4)
	f.prove(1, 20)
	f.work(first(1))
	queue := map[outbox.Lane]int{first(1): 1000}
	claimed := f.claim(queue)
	for _, c := range claimed {
		f.arrived(c)
	}
	if len(claimed) <= 4 {
		t.Fatalf("only %d claimed ahead", len(claimed))
	}
	if n := len(f.stale(f.now.Add(staleAfter/2), staleAfter)); n != 0 {
		t.Errorf("%d given back too early", n)
	}
	if n := len(f.stale(f.now.Add(2*staleAfter), staleAfter)); n != len(claimed)-4 {
		t.Errorf("%d given back, want %d", n, len(claimed)-4)
	}
}

// A receiver was quick and now holds all requests: what it cannot take is another
// dispatcher's to claim.
func TestStaleDeliveriesAreNotClaimedAgainUntilTheReceiverAnswers(t *testing.T) {
	t.Parallel()
	const limit = 32
	f := newFloor(t, 256, limit)
	f.prove(1, limit)
	f.work(first(1))
	queue := map[outbox.Lane]int{first(1): 1000}
	if n := f.drain(queue)[uuid.UUID{15: 1}]; n <= limit {
		t.Fatalf("%d claimed, none of them ahead", n)
	}
	f.now = f.now.Add(2 * staleAfter)
	queue[first(1)] += len(f.stale(f.now, staleAfter))
	for range 3 {
		f.work(first(1)) // a sweep has found it
		f.now = f.now.Add(2 * staleAfter)
		if n := len(f.claim(queue)); n != 0 {
			t.Errorf("%d claimed for a receiver that holds all that it may get", n)
		}
	}
	f.landed(f.now, uuid.UUID{15: 1}, 100*time.Millisecond, true, true)
	f.end(1)
	f.now = f.now.Add(time.Second)
	if n := len(f.claim(queue)); n <= 1 {
		t.Errorf("%d claimed when it has answered, want some ahead again", n)
	}
}

func TestIdleReceiversAreForgotten(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 8, 8)
	f.work(first(1))
	for _, c := range f.claim(map[outbox.Lane]int{first(1): 1}) {
		f.arrived(c)
		f.landed(f.now, c.EndpointID, time.Millisecond, true, true)
		f.end(1)
	}
	f.stale(f.now.Add(time.Minute), staleAfter)
	if len(f.receivers) != 1 {
		t.Error("forgotten after a minute")
	}
	f.stale(f.now.Add(time.Hour), staleAfter)
	if len(f.receivers)+len(f.known) != 0 {
		t.Errorf("%d receivers and %d lanes are kept for ever", len(f.receivers), len(f.known))
	}
}

func TestBusyReceiverIsNotAskedForEverySlot(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 64, 8)
	f.prove(1, 20)
	f.work(first(1))
	queue := map[outbox.Lane]int{first(1): 1000}
	flying := f.claim(queue)
	for _, c := range flying {
		f.arrived(c)
	}
	f.asks(f.now) // refused: the window is full
	f.landed(f.now, flying[0].EndpointID, 100*time.Millisecond, true, true)
	f.end(1)
	if asks, again := f.asks(f.now); len(asks) != 0 || again.IsZero() {
		t.Errorf("asked for a single slot at once: %v", asks)
	}
	if asks, _ := f.asks(f.now.Add(askEvery)); len(asks) != 1 {
		t.Error("not asked for it after a moment")
	}
}
