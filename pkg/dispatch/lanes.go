package dispatch

import (
	"container/heap"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

const (
	// askLanes is how many lanes one claim visits at most: it takes some
	// microseconds for each.
	askLanes = 64
	// aheadPerSlot bounds what is claimed ahead, over all receivers.
	aheadPerSlot = 4
	// breath is the wait of a busy dispatcher whose slots are nearly all taken,
	// unless some become free: a claim for a few costs as much as one for many.
	breath = 10 * time.Millisecond
	// forgetAfter is how long what is known of an idle receiver is kept. The lower
	// bounds of its lanes spare claims the walk over dead index entries, which
	// vacuum has removed by then.
	forgetAfter = 10 * time.Minute
)

// lane is a lane that this process knows.
type lane struct {
	key    outbox.Lane
	since  time.Time // lower bound, by the database's clock; zero: none
	at     time.Time // when to ask, by this host's
	index  int       // place in the heap, -1: not in it
	fresh  bool      // nothing is known of it yet
	asking bool      // a claim is under way
	begin  int       // slots that it has taken
	noted  bool      // meanwhile, work was told of
	held   bool      // passed over because slots are scarce
}

// lanes decides which lanes the next claim asks, and for how much. It is the
// memory of a dispatcher: a cache of where work is, and of what each receiver can
// take. It counts the slots: a delivery holds one from the beginning of its request
// until the result is recorded, because all that has begun and is not recorded may
// be sent again after a crash: so a crash repeats at most total deliveries. Some
// more are claimed ahead; a crash only delays those until their leases end.
//
// Lanes are asked in the order in which they became ready, which goes round robin
// over those that always are. The last quarter of the slots is kept for first
// attempts: an eighth for any, one to each receiver, the rest for those that answer.
type lanes struct {
	total, perEndpoint int
	wake               chan<- struct{} // asks would answer differently now

	mu        sync.Mutex
	used      int // slots
	flying    int // requests in flight, or to begin at once when a claim under way ends
	ahead     int // deliveries claimed, or being claimed, that have no slot yet
	known     map[outbox.Lane]*lane
	receivers map[uuid.UUID]*receiver
	ready     laneHeap
	held      []*lane // passed over because slots are scarce
	stalled   []*receiver
	lastAsk   time.Time
}

func newLanes(total, perEndpoint int, wake chan<- struct{}) *lanes {
	return &lanes{
		total: total, perEndpoint: perEndpoint, wake: wake,
		known: map[outbox.Lane]*lane{}, receivers: map[uuid.UUID]*receiver{},
	}
}

// reserve is how many slots only first attempts get; none where there are few.
func (l *lanes) reserve() int {
	if l.total < 16 {
		return 0
	}
	return l.total / 4
}

// room is how many more requests may be in flight, as far as all may begin them.
// What only waits to be recorded is not counted: that ends by itself.
func (l *lanes) room() int { return l.total - l.reserve() - l.flying }

// batch is how much room is worth a claim of a busy dispatcher.
func (l *lanes) batch() int { return max(1, l.total/8) }

// note says that a lane has something to claim at a time. since bounds it from
// below, when that is known.
func (l *lanes) note(key outbox.Lane, since, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.laneOf(key)
	if !since.IsZero() && (ln.fresh || since.Before(ln.since)) {
		ln.since = since
	}
	ln.fresh = false
	l.push(ln, at)
}

// found notes all that a look at the queue has found.
func (l *lanes) found(now time.Time, work []outbox.Work) {
	for _, w := range work {
		l.note(w.Lane, w.Since, now.Add(w.In))
	}
}

func (l *lanes) laneOf(key outbox.Lane) *lane {
	ln := l.known[key]
	if ln == nil {
		ln = &lane{key: key, index: -1, fresh: true}
		l.known[key] = ln
	}
	return ln
}

func (l *lanes) receiverOf(id uuid.UUID) *receiver {
	r := l.receivers[id]
	if r == nil {
		r = newReceiver(l.perEndpoint)
		l.receivers[id] = r
	}
	return r
}

// push puts a lane into the heap, or forward in it, and wakes the claim loop when
// that changes what comes first.
func (l *lanes) push(ln *lane, at time.Time) {
	switch {
	case ln.asking:
		if !ln.noted || at.Before(ln.at) {
			ln.noted, ln.at = true, at
		}
		return
	case ln.index < 0:
		ln.at = at
		heap.Push(&l.ready, ln)
	case at.Before(ln.at):
		ln.at = at
		heap.Fix(&l.ready, ln.index)
	default:
		return
	}
	if ln.index == 0 {
		poke(l.wake)
	}
}

// asks returns what to claim now, and otherwise when to look again; a zero time
// means that a wake-up will tell.
func (l *lanes) asks(now time.Time) (asks []outbox.Ask, again time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	budget := l.room()
	if budget < l.batch() && now.Sub(l.lastAsk) < breath {
		return nil, l.lastAsk.Add(breath)
	}
	if budget <= 0 {
		budget = l.total - l.flying
	}
	chosen := l.choose(now, min(askLanes, max(budget, 1)))
	if len(chosen) == 0 {
		switch {
		case len(l.ready) == 0: // a wake-up tells of work, or of room
			return nil, time.Time{}
		case l.ready[0].at.After(now):
			return nil, l.ready[0].at
		default:
			return nil, now.Add(breath)
		}
	}
	l.lastAsk = now
	room := aheadPerSlot*l.total - l.ahead
	for i, c := range chosen {
		others := len(chosen) - i // what one leaves over goes on to the next
		begin := min(c.begin, max(1, budget/others), budget)
		more := min(c.more, room/others)
		budget, room = budget-begin, room-more
		if begin+more == 0 {
			l.push(c.lane, now.Add(breath))
			continue
		}
		l.flying += begin
		l.ahead += more
		c.receiver.coming += begin + more
		c.receiver.lastAsk = now
		c.lane.asking, c.lane.begin = true, begin
		asks = append(asks, outbox.Ask{Lane: c.lane.key, Since: c.lane.since, Most: begin + more})
	}
	return asks, now.Add(breath)
}

// choice is a lane that is asked, and what its receiver could take.
type choice struct {
	lane        *lane
	receiver    *receiver
	begin, more int
}

// choose takes lanes that are due from the heap. Lanes without room leave it, and
// come back when there is some.
func (l *lanes) choose(now time.Time, most int) []choice {
	var chosen []choice
	scarce := l.room() <= 0
	strangers := l.total - l.flying - l.reserve()/2 // receivers of which it is not known that they answer
	for len(chosen) < most && len(l.ready) > 0 && !l.ready[0].at.After(now) {
		ln := heap.Pop(&l.ready).(*lane) //nolint:errcheck // the heap holds nothing else
		r := l.receiverOf(ln.key.EndpointID)
		window := l.window(r, ln.key.Retry)
		if scarce && !r.proven {
			if strangers--; strangers < 0 {
				window = 0
			}
		}
		begin, more := r.wants(window)
		tooEarly := r.askAt(now).After(now)
		switch {
		case begin+more > 0 && !tooEarly:
			chosen = append(chosen, choice{ln, r, begin, more})
		case begin+more > 0:
			ln.at = r.askAt(now)
			heap.Push(&l.ready, ln)
		case scarce:
			ln.held = true
			l.held = append(l.held, ln)
		default:
			r.full = append(r.full, ln)
		}
	}
	return chosen
}

// answered takes in what a claim has brought. now is before the claim.
func (l *lanes) answered(now time.Time, asks []outbox.Ask, visits []outbox.Visit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := make(map[outbox.Lane]outbox.Visit, len(visits))
	for _, v := range visits {
		found[v.Lane] = v
	}
	for _, a := range asks {
		v := found[a.Lane]
		r, ln := l.receiverOf(a.EndpointID), l.laneOf(a.Lane)
		l.giveBack(r, ln, a.Most)
		noted, notedAt := ln.noted, ln.at
		ln.asking, ln.noted = false, false
		if v.Taken > 0 && !ln.since.Before(a.Since) { // nothing earlier was told of meanwhile
			ln.since = v.Since
		}
		if v.Taken > 0 || v.AgainIn > 0 {
			r.paced = v.AgainIn > 0
		}
		switch {
		case v.AgainIn > 0:
			l.push(ln, now.Add(v.AgainIn))
		case v.Taken == a.Most:
			l.push(ln, now)
		case noted:
			l.push(ln, notedAt)
		}
	}
	l.unhold(now)
}

// giveBack ends what asks has taken for a lane.
func (l *lanes) giveBack(r *receiver, ln *lane, most int) {
	r.coming -= most
	l.flying -= ln.begin
	l.ahead -= most - ln.begin
}

// failed takes in that a claim brought nothing because of an error.
func (l *lanes) failed(now time.Time, asks []outbox.Ask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range asks {
		ln := l.laneOf(a.Lane)
		l.giveBack(l.receiverOf(a.EndpointID), ln, a.Most)
		ln.asking, ln.noted = false, false
		l.push(ln, now)
	}
}

// arrived takes a claimed delivery in, and returns it when its request may begin
// at once.
func (l *lanes) arrived(c outbox.Claimed) (start bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.receiverOf(c.EndpointID)
	if len(r.waiting) == 0 && l.mayBegin(r, c.Retry) {
		r.sending++
		l.used++
		l.flying++
		return true
	}
	r.waiting = append(r.waiting, c)
	l.ahead++
	l.stall(r)
	return false
}

// landed takes in that a request has ended, and returns the next one to the same
// receiver, if there is one to begin. widened says that there may be another.
func (l *lanes) landed(now time.Time, id uuid.UUID, took time.Duration, made, success bool) (next outbox.Claimed, ok, widened bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.receiverOf(id)
	before := l.room()
	r.sending--
	l.flying--
	if made {
		r.learn(took, success)
	}
	next, ok = l.begin(r)
	if r.held() == 0 {
		r.idleFrom = now
	}
	if begin, more := r.wants(r.window); len(r.full) > 0 && begin+more > 0 {
		for _, ln := range r.full {
			l.push(ln, r.askAt(now))
		}
		r.full = r.full[:0]
	}
	l.unhold(now)
	if before < l.batch() && l.room() >= l.batch() {
		poke(l.wake)
	}
	return next, ok, ok && r.hasNext()
}

// next returns one more request to begin to a receiver, if there is one.
func (l *lanes) next(id uuid.UUID) (outbox.Claimed, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begin(l.receiverOf(id))
}

// begin gives the receiver's next delivery a slot, if both are there.
func (l *lanes) begin(r *receiver) (outbox.Claimed, bool) {
	if !r.hasNext() {
		return outbox.Claimed{}, false
	}
	if !l.mayBegin(r, r.waiting[0].Retry) {
		l.stall(r)
		return outbox.Claimed{}, false
	}
	l.used++
	l.flying++
	l.ahead--
	return r.next(), true
}

// mayBegin says whether there is a slot for a receiver's request.
func (l *lanes) mayBegin(r *receiver, retry bool) bool {
	return l.used < l.total && r.sending < l.window(r, retry)
}

// window is how many requests a receiver may have in flight. When slots are scarce,
// only first attempts get some, a few each: neither retries nor receivers that hang
// can hold the last ones.
func (l *lanes) window(r *receiver, retry bool) int {
	switch {
	case l.room() > 0:
		return r.window
	case retry:
		return 0
	case r.proven:
		return min(firstWindow, r.window)
	case l.total-l.flying > l.reserve()/2:
		return 1
	default:
		return 0
	}
}

// stall remembers a receiver that only lacks a slot.
func (l *lanes) stall(r *receiver) {
	if !r.stalled && r.hasNext() {
		r.stalled = true
		l.stalled = append(l.stalled, r)
	}
}

// resume begins what has stalled, as far as there are slots now.
func (l *lanes) resume() (begin []outbox.Claimed) {
	stalled := l.stalled
	l.stalled = nil
	for _, r := range stalled {
		r.stalled = false
		for {
			c, ok := l.begin(r) // stalls again when there is no slot
			if !ok {
				break
			}
			begin = append(begin, c)
		}
	}
	return begin
}

// limit sets how many requests an endpoint may have in flight; nil is the
// process's own limit.
func (l *lanes) limit(id uuid.UUID, most *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.receiverOf(id)
	r.limit = l.perEndpoint
	if most != nil {
		r.limit = min(r.limit, *most)
	}
	r.window = min(r.window, r.limit)
}

// end gives back n slots: the deliveries are recorded, or their leases are not
// this process's any more. It returns those that can begin by that.
func (l *lanes) end(n int) (begin []outbox.Claimed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used -= n
	return l.resume()
}

// unhold puts the lanes back that were passed over, once there is room for all.
func (l *lanes) unhold(now time.Time) {
	if l.room() <= 0 {
		return
	}
	for _, ln := range l.held {
		ln.held = false
		l.push(ln, now)
	}
	l.held = nil
}

// count is how many slots are in use.
func (l *lanes) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

// stale takes out the deliveries that have waited for longer than patience for
// room at their receiver, which is slow by that.
func (l *lanes) stale(now time.Time, patience time.Duration) []outbox.Claimed {
	l.mu.Lock()
	defer l.mu.Unlock()
	var old []outbox.Claimed
	for id, r := range l.receivers {
		n := 0
		for n < len(r.waiting) && now.Sub(r.waiting[n].ClaimedAt) > patience {
			n++
		}
		r.slow = r.slow || n > 0
		old = append(old, l.takeOut(now, r, n)...)
		l.forget(now, id, r)
	}
	return old
}

// withdraw takes out all that waits for a receiver.
func (l *lanes) withdraw(now time.Time, id uuid.UUID) []outbox.Claimed {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.receiverOf(id)
	return l.takeOut(now, r, len(r.waiting))
}

// takeOut takes out the first n deliveries that wait for a receiver; their lanes
// will find them again.
func (l *lanes) takeOut(now time.Time, r *receiver, n int) []outbox.Claimed {
	out := r.waiting[:n]
	for _, c := range out {
		ln := l.laneOf(c.Lane)
		ln.since = earliest(ln.since, c.DueAt)
		l.push(ln, now.Add(staleAfter))
	}
	r.waiting = r.waiting[n:]
	l.ahead -= n
	return out
}

// forget drops a receiver that has been idle for long, and its lanes.
func (l *lanes) forget(now time.Time, id uuid.UUID, r *receiver) {
	if r.held() > 0 || len(r.full) > 0 || r.stalled || now.Sub(latest(r.idleFrom, r.lastAsk)) < forgetAfter {
		return
	}
	for _, retry := range []bool{false, true} {
		if ln := l.known[outbox.Lane{EndpointID: id, Retry: retry}]; ln != nil && (ln.index >= 0 || ln.asking || ln.held) {
			return
		}
	}
	delete(l.receivers, id)
	delete(l.known, outbox.Lane{EndpointID: id})
	delete(l.known, outbox.Lane{EndpointID: id, Retry: true})
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func poke(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// laneHeap orders lanes by when to ask them.
type laneHeap []*lane

// Len, Less, Swap, Push and Pop are container/heap's.
func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push adds a lane at the end.
func (h *laneHeap) Push(x any) {
	ln := x.(*lane) //nolint:errcheck // the heap holds nothing else
	ln.index = len(*h)
	*h = append(*h, ln)
}

// Pop takes the last lane.
func (h *laneHeap) Pop() any {
	old := *h
	ln := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	ln.index = -1
	return ln
}
