package model_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// model is the whole state of the outbox. Instants are whole numbers that count
// the statements, and what matters of the future is only that it is not yet.
type model struct {
	now       int
	endpoints []*endpoint
	all       []*delivery // ever written
	queue     []*delivery // those with work left, in the order of writing
	logged    map[lease]bool
	late      map[lease]bool
}

// endpoint is a receiver. Its two lanes, first attempts and retries, are those of
// its deliveries in the queue that say so.
type endpoint struct {
	id           uuid.UUID
	organization *uuid.UUID // nil: gets the events of all organizations
	ordered      bool
	maxAttempts  int
	limit        int // failures in a row that open its breaker
	active       bool
	paused       bool
	breaker      breaker
}

type breaker struct {
	state      outbox.BreakerState
	shut       bool // open and not yet time for a probe, or a probe is on its way
	failures   int  // since the last success
	openings   int  // since the last success
	recovering bool // closed a short while ago: the pace is limited
}

type delivery struct {
	id         uuid.UUID
	event      uuid.UUID
	endpoint   *endpoint
	generation int
	status     outbox.Status
	reason     string // why it failed
	attempts   int
	max        int // attempts

	// Of the queue, while the delivery has work left.
	retry  bool       // which lane
	stream *uuid.UUID // organization whose deliveries to the endpoint go one after another; nil: no order
	due    int        // when it is or was due
	when   when
	token  int64 // lease, 0: none
	ended  bool  // the lease has ended, but nobody has taken it over

	tookOver bool // the lease followed one that had ended
}

// when says how a delivery's due time lies to the present.
type when string

const (
	due   when = "due"
	later when = "later"
	turn  when = "turn" // has none: it waits for the one before it in its stream
)

// lease is a claim of a delivery, known by its token.
type lease struct {
	id    uuid.UUID
	token int64
}

func (m *model) tick() int { m.now++; return m.now }

// deliveryID is sonicus.delivery_id.
func deliveryID(event, endpoint uuid.UUID, generation int) uuid.UUID {
	sum := md5.Sum([]byte(event.String() + endpoint.String() + strconv.Itoa(generation)))
	h := hex.EncodeToString(sum[:])
	variant := "89ab"[strings.IndexByte("0123456789abcdef", h[3])%4]
	return uuid.MustParse(hex.EncodeToString(event[:6]) + "7" + h[:3] + string(variant) + h[4:19])
}

// publish: every active endpoint, paused or not, gets a delivery of an event of
// its organization, or of any when it has none. In a stream, only a delivery that
// has nothing before it is due; any other waits for its turn.
func (m *model) publish(event, organization uuid.UUID) (to []uuid.UUID) {
	now := m.tick()
	for _, e := range m.endpoints {
		if !e.active || e.organization != nil && *e.organization != organization {
			continue
		}
		d := m.add(event, e, 1, now)
		if e.ordered {
			if m.first(e, organization) != nil {
				d.when, d.due = turn, 0
			}
			d.stream = &organization
		}
		m.queue = append(m.queue, d)
		to = append(to, e.id)
	}
	return to
}

// replay: another delivery of the same event to the same endpoint with the next
// generation, due at once and in no stream.
func (m *model) replay(of *delivery, now int) *delivery {
	generation := of.generation
	for _, d := range m.all {
		if d.event == of.event && d.endpoint == of.endpoint {
			generation = max(generation, d.generation)
		}
	}
	d := m.add(of.event, of.endpoint, generation+1, now)
	d.max = of.max
	m.queue = append(m.queue, d)
	return d
}

// replayed: there is a delivery of the next generation.
func (m *model) replayed(of *delivery) bool {
	return slices.ContainsFunc(m.all, func(d *delivery) bool {
		return d.event == of.event && d.endpoint == of.endpoint && d.generation == of.generation+1
	})
}

func (m *model) add(event uuid.UUID, e *endpoint, generation, now int) *delivery {
	d := &delivery{
		id: deliveryID(event, e.id, generation), event: event, endpoint: e, generation: generation,
		status: outbox.Pending, max: e.maxAttempts, due: now, when: due,
	}
	m.all = append(m.all, d)
	return d
}

// first is the delivery of a stream that has none before it. Only it may go,
// whether it is due, leased, or waits for a retry.
func (m *model) first(e *endpoint, organization uuid.UUID) *delivery {
	for _, d := range m.queue { // in the order of writing
		if d.endpoint == e && d.stream != nil && *d.stream == organization {
			return d
		}
	}
	return nil
}

// ready: what a lane has to give. Its endpoint is active, not paused, and its
// breaker not shut; the delivery is due, under no lease that lasts, and the first
// of its stream.
func (m *model) ready(e *endpoint, retry bool) []*delivery {
	if !e.active || e.paused || e.breaker.shut {
		return nil
	}
	var ready []*delivery
	for _, d := range m.queue {
		if d.endpoint == e && d.retry == retry && d.when == due && (d.token == 0 || d.ended) &&
			(d.stream == nil || m.first(e, *d.stream) == d) {
			ready = append(ready, d)
		}
	}
	return ready
}

// ask is what a claim may take of the two lanes of an endpoint.
type ask struct {
	endpoint *endpoint
	most     [2]int // of first attempts, of retries; 0: the lane is not asked
}

// mayTake says what is wrong with a claim that took these deliveries of the lanes
// that a names; "" when nothing is.
//
// Of each lane it takes what is ready, the longest due first, as many as asked
// for and no fewer. A breaker that is not closed lets exactly one go, the probe,
// which is the longest due of all. While an endpoint recovers, any number up to
// that may go: how many is a matter of pace, which this model has not.
func (m *model) mayTake(a ask, taken []*delivery) string {
	want := 0
	var left, ready []*delivery
	for lane, most := range a.most {
		if most == 0 {
			continue
		}
		in := m.ready(a.endpoint, lane == 1)
		ready = append(ready, in...)
		want += min(most, len(in))
		var last int
		var rest []*delivery
		for _, d := range in {
			if slices.Contains(taken, d) {
				last = max(last, d.due)
			} else {
				rest = append(rest, d)
			}
		}
		if len(in)-len(rest) > most {
			return fmt.Sprintf("%d taken where %d were asked for", len(in)-len(rest), most)
		}
		for _, d := range rest {
			if d.due < last {
				return fmt.Sprintf("one due at %d is left and one due at %d taken", d.due, last)
			}
		}
		left = append(left, rest...)
	}
	for _, d := range taken {
		if !slices.Contains(ready, d) {
			return fmt.Sprintf("%v is not ready", d)
		}
	}
	switch {
	case a.endpoint.breaker.state != outbox.Closed:
		want = min(want, 1)
		for _, d := range left {
			if len(taken) == 1 && d.due < taken[0].due {
				return "the probe is not the longest due"
			}
		}
	case a.endpoint.breaker.recovering && len(taken) <= want:
		return ""
	}
	if len(taken) != want {
		return fmt.Sprintf("%d taken, want %d of %d ready", len(taken), want, len(ready))
	}
	return ""
}

// take: a lease of its own for each delivery. The probe of a breaker shuts it again.
func (m *model) take(a ask, taken []*delivery, token int64) {
	for _, d := range taken {
		d.tookOver = d.token != 0
		d.token, d.ended = token, false
	}
	if b := &a.endpoint.breaker; len(taken) > 0 && b.state != outbox.Closed {
		b.state, b.shut = outbox.HalfOpen, true
	}
}

// settle: the result counts when the delivery is still under the lease that the
// attempt was made under, ended or not. One that has been counted already changes
// nothing. Any other is late: noted once beside, never applied.
func (m *model) settle(d *delivery, token int64, status outbox.Status, reason string) (late bool) {
	l := lease{d.id, token}
	switch {
	case d.token == token:
		m.logged[l] = true
		d.attempts++
		d.status, d.reason, d.token = status, reason, 0
		if status == outbox.Retrying {
			d.retry, d.when = true, later
		} else {
			m.queue = slices.DeleteFunc(m.queue, func(q *delivery) bool { return q == d })
		}
		return false
	case m.logged[l] || m.late[l]:
		return false
	default:
		m.late[l] = true
		return true
	}
}

// promote: the first of a stream that waited for its turn has it.
func (m *model) promote() (endpoints []uuid.UUID) {
	now := m.tick()
	seen := map[string]bool{}
	for _, d := range m.queue { // in the order of writing
		if d.stream == nil {
			continue
		}
		stream := d.endpoint.id.String() + d.stream.String()
		if !seen[stream] && d.when == turn {
			d.when, d.due = due, now
			endpoints = append(endpoints, d.endpoint.id)
		}
		seen[stream] = true
	}
	return endpoints
}

// release: a lease that is still the delivery's is given back. With a wait the
// delivery is due later, without one it keeps its place. Nothing counts as an
// attempt. One that took over goes on to be a possible duplicate.
func (m *model) release(d *delivery, token int64, wait bool) {
	if d.token != token {
		return
	}
	if d.ended = d.tookOver; !d.ended {
		d.token = 0
	}
	if wait {
		d.when = later
	}
}

// inFlight: under a lease that lasts.
func (d *delivery) inFlight() bool { return d.token != 0 && !d.ended }

// retryNow: what failed goes on, in no order, with one more attempt at least; what
// waits for its time is due. It returns why not, or "".
func (m *model) retryNow(d *delivery) (refused string) {
	now := m.tick()
	switch {
	case d.status == outbox.Sent:
		return "already_sent"
	case d.inFlight():
		return "in_flight"
	case d.status == outbox.Failed && m.replayed(d):
		return "replayed"
	case d.status == outbox.Failed:
		d.status, d.reason, d.max = outbox.Retrying, "", max(d.max, d.attempts+1)
		if d.attempts == 0 {
			d.status = outbox.Pending
		}
		d.retry, d.stream, d.due, d.when, d.token, d.tookOver = d.attempts > 0, nil, now, due, 0, false
		m.queue = append(m.queue, d)
	case d.when == turn:
		return "waits_for_turn"
	case d.when == later:
		d.due, d.when = now, due
	}
	return ""
}

// cancel: what waits is given up, and the next of its stream may go. It returns why
// not, or "".
func (m *model) cancel(d *delivery) (refused string) {
	switch {
	case d.status == outbox.Sent:
		return "already_sent"
	case d.status == outbox.Failed:
		return "already_failed"
	case d.inFlight():
		return "in_flight"
	}
	d.status, d.reason, d.token = outbox.Failed, outbox.Canceled, 0
	m.queue = slices.DeleteFunc(m.queue, func(q *delivery) bool { return q == d })
	m.promote()
	return ""
}

// hear: what a group of attempts tells of an endpoint. A success closes the
// breaker, whatever else failed. So many failures in a row open it, and so does
// that of a probe; failures while it is open prolong nothing.
func (b *breaker) hear(successes, failures, limit int) {
	switch {
	case successes > 0:
		b.recovering = b.recovering || b.state != outbox.Closed
		b.state, b.shut, b.failures, b.openings = outbox.Closed, false, 0, 0
	case failures > 0:
		b.failures += failures
		if b.state == outbox.HalfOpen || b.state == outbox.Closed && b.failures >= limit {
			b.openings++
			b.state, b.shut, b.recovering = outbox.Open, true, false
		}
	}
}

// lines is the state as text, as the database is asked for it.
func (m *model) lines() []string {
	queued := make(map[*delivery]bool, len(m.queue))
	for _, d := range m.queue {
		queued[d] = true
	}
	var lines []string
	for _, d := range m.all {
		line := fmt.Sprint(d.id, " ", d.endpoint.id, " ", d.generation, " ", d.status, d.reason, " ", d.attempts, "/", d.max, " ")
		if queued[d] {
			stream := "-"
			if d.stream != nil {
				stream = d.stream.String()
			}
			line += fmt.Sprint(d.when, " retry ", d.retry, " lease ", d.token, " live ", d.token != 0 && !d.ended, " stream ", stream)
		}
		lines = append(lines, line)
	}
	for _, e := range m.endpoints {
		b := e.breaker
		lines = append(lines, fmt.Sprint("lane ", e.id, " ", b.state, " shut ", b.shut, " failures ", b.failures, " openings ", b.openings,
			" active ", e.active, " paused ", e.paused))
	}
	for l := range m.late {
		lines = append(lines, fmt.Sprint("late ", l.id, " ", l.token))
	}
	slices.Sort(lines)
	return lines
}

// found are the lanes that a sweep and a look at the arrivals have to name: those
// with something ready, and those with a first attempt that is, or will be, due
// and was never leased, or given back, whatever their endpoints' state.
func (m *model) found() (sweep, arrivals []outbox.Lane) {
	for _, e := range m.endpoints {
		for _, retry := range []bool{false, true} {
			if len(m.ready(e, retry)) > 0 {
				sweep = append(sweep, outbox.Lane{EndpointID: e.id, Retry: retry})
			}
		}
		if slices.ContainsFunc(m.queue, func(d *delivery) bool { return d.endpoint == e && !d.retry && d.when != turn && d.token == 0 }) {
			arrivals = append(arrivals, outbox.Lane{EndpointID: e.id})
		}
	}
	return sweep, arrivals
}
