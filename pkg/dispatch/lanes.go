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
	noted  bool      // meanwhile, work was told of
}

// lanes decides which lanes the next claim asks, and for how much. It is the
// memory of a dispatcher: a cache of where work is, and of what each receiver can
// take. It counts the slots: a delivery holds one from the claim until its result
// is recorded, because all that is not recorded may be sent again after a crash:
// so a crash repeats at most total deliveries.
//
// Lanes are asked in the order in which they became ready, which goes round robin
// over those that always are. The last quarter of the slots is kept for the first
// attempts of receivers that answer.
type lanes struct {
	total, perEndpoint int
	wake               chan<- struct{} // asks would answer differently now

	mu        sync.Mutex
	used      int // slots
	known     map[outbox.Lane]*lane
	receivers map[uuid.UUID]*receiver
	ready     laneHeap
	held      []*lane // passed over because slots are scarce
	lastAsk   time.Time
}

func newLanes(total, perEndpoint int, wake chan<- struct{}) *lanes {
	return &lanes{
		total: total, perEndpoint: perEndpoint, wake: wake,
		known: map[outbox.Lane]*lane{}, receivers: map[uuid.UUID]*receiver{},
	}
}

// reserve is how many slots only first attempts to receivers that answer get.
func (l *lanes) reserve() int { return l.total / 4 }

// room is how many slots are free to all.
func (l *lanes) room() int { return l.total - l.reserve() - l.used }

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
	scarce := budget <= 0
	if scarce {
		budget = l.total - l.used
	}
	chosen := l.choose(now, min(askLanes, budget), scarce)
	if len(chosen) == 0 {
		if len(l.ready) > 0 && l.ready[0].at.After(now) {
			return nil, l.ready[0].at
		}
		return nil, now.Add(breath) // no room, or nothing there
	}
	l.lastAsk = now
	for i, c := range chosen {
		share := budget / (len(chosen) - i) // what others leave over goes on to the next
		most := min(c.want, max(1, share))
		budget -= most
		l.used += most
		c.receiver.coming += most
		c.receiver.lastAsk = now
		c.lane.asking = true
		asks = append(asks, outbox.Ask{Lane: c.lane.key, Since: c.lane.since, Most: most})
	}
	return asks, time.Time{}
}

// choice is a lane that is asked, and what its receiver could take.
type choice struct {
	lane     *lane
	receiver *receiver
	want     int
}

// choose takes lanes that are due from the heap. Lanes without room leave it, and
// come back when there is some.
func (l *lanes) choose(now time.Time, most int, scarce bool) []choice {
	var chosen []choice
	for len(chosen) < most && len(l.ready) > 0 && !l.ready[0].at.After(now) {
		ln := heap.Pop(&l.ready).(*lane) //nolint:forcetypeassert // the heap holds nothing else
		r := l.receiverOf(ln.key.EndpointID)
		want := r.wants(ln.key.Retry, scarce)
		tooEarly := r.askAt(now).After(now)
		switch {
		case want > 0 && !tooEarly:
			chosen = append(chosen, choice{ln, r, want})
		case want > 0:
			ln.at = r.askAt(now)
			heap.Push(&l.ready, ln)
		case scarce:
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
		r.coming -= a.Most
		l.used -= a.Most - v.Taken
		noted, notedAt := ln.noted, ln.at
		ln.asking, ln.noted = false, false
		if v.Taken > 0 {
			ln.since = v.Since
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

// failed takes in that a claim brought nothing because of an error.
func (l *lanes) failed(now time.Time, asks []outbox.Ask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range asks {
		ln := l.laneOf(a.Lane)
		l.receiverOf(a.EndpointID).coming -= a.Most
		l.used -= a.Most
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
	if r.sending < r.window && len(r.waiting) == 0 {
		r.sending++
		return true
	}
	r.waiting = append(r.waiting, c)
	return false
}

// landed takes in that a request has ended, and returns the next one to the same
// receiver, if there is one to begin. widened says that there may be another.
func (l *lanes) landed(now time.Time, id uuid.UUID, took time.Duration, made, success bool) (next outbox.Claimed, ok, widened bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.receiverOf(id)
	r.sending--
	if made {
		r.learn(took, success)
	}
	next, ok = r.next()
	if r.held() == 0 {
		r.idleFrom = now
	}
	if len(r.full) > 0 && r.wants(false, false) > 0 {
		for _, ln := range r.full {
			l.push(ln, r.askAt(now))
		}
		r.full = r.full[:0]
	}
	return next, ok, ok && r.sending < r.window && len(r.waiting) > 0
}

// next returns one more request to begin to a receiver, if there is one.
func (l *lanes) next(id uuid.UUID) (outbox.Claimed, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.receiverOf(id).next()
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
// this process's any more.
func (l *lanes) end(now time.Time, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.room()
	l.used -= n
	l.unhold(now)
	if before < l.batch() && l.room() >= l.batch() {
		poke(l.wake)
	}
}

// unhold puts the lanes back that were passed over, once there is room for all.
func (l *lanes) unhold(now time.Time) {
	if l.room() <= 0 {
		return
	}
	for _, ln := range l.held {
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
// room at their receiver.
func (l *lanes) stale(now time.Time, patience time.Duration) []outbox.Claimed {
	l.mu.Lock()
	defer l.mu.Unlock()
	var old []outbox.Claimed
	for id, r := range l.receivers {
		n := 0
		for n < len(r.waiting) && now.Sub(r.waiting[n].ClaimedAt) > patience {
			c := r.waiting[n]
			ln := l.laneOf(c.Lane)
			ln.since = earliest(ln.since, c.DueAt)
			l.push(ln, now.Add(askEvery))
			n++
		}
		old = append(old, r.waiting[:n]...)
		r.waiting = r.waiting[n:]
		l.forget(now, id, r)
	}
	return old
}

// forget drops a receiver that has been idle for long, and its lanes.
func (l *lanes) forget(now time.Time, id uuid.UUID, r *receiver) {
	if r.held() > 0 || len(r.full) > 0 || now.Sub(latest(r.idleFrom, r.lastAsk)) < forgetAfter {
		return
	}
	for _, retry := range []bool{false, true} {
		if ln := l.known[outbox.Lane{EndpointID: id, Retry: retry}]; ln != nil && (ln.index >= 0 || ln.asking) {
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
	ln := x.(*lane) //nolint:forcetypeassert // the heap holds nothing else
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
