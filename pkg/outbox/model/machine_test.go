package model_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"pgregory.net/rapid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
)

const (
	defaultSteps  = 100_000
	databases     = 4  // each is the ground of a subtest, two or more of which run at a time
	compareEvery  = 16 // calls; and at the end of each check
	batch         = 24 // most deliveries or events of one call
	checksAtATime = "2"
	callsPerCheck = "200" // on average
)

// policy opens breakers for so long that they open again only when time is moved.
var policy = outbox.BreakerPolicy{Failures: 3, FirstOpen: time.Hour, MaxOpen: 4 * time.Hour}

func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": checksAtATime, "rapid.steps": callsPerCheck, "rapid.nofailfile": "true"} {
		if given[name] {
			continue
		}
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

func TestOutboxDoesWhatTheModelSays(t *testing.T) {
	t.Parallel()
	want := defaultSteps
	if s := os.Getenv("SONICUS_MODEL_STEPS"); s != "" {
		var err error
		if want, err = strconv.Atoi(s); err != nil {
			t.Fatalf("SONICUS_MODEL_STEPS: %v", err)
		}
	}
	var steps, calls atomic.Int64
	t.Run("Databases", func(t *testing.T) {
		for i := range databases {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				db := pgtest.New(t)
				for mine := 0; mine < (want+databases-1)/databases && !t.Failed(); {
					rapid.Check(t, func(r *rapid.T) {
						m := start(r, db)
						defer func() {
							mine += m.steps
							steps.Add(int64(m.steps))
							calls.Add(int64(m.calls))
						}()
						r.Repeat(m.actions())
						m.compare(r)
						m.verify(r)
					})
				}
			})
		}
	})
	t.Logf("%d steps in %d calls", steps.Load(), calls.Load())
	if steps.Load() < int64(want) {
		t.Errorf("%d steps, want %d or more", steps.Load(), want)
	}
}

// machine is a database and the model of it. It holds the two to the same course.
type machine struct {
	model
	db            *sqlx.DB
	ctx           context.Context
	organizations []uuid.UUID
	byID          map[uuid.UUID]*delivery
	dispatchers   [3]dispatcher
	steps, calls  int
}

// dispatcher is what a process remembers: it does not see that a lease has ended.
type dispatcher struct {
	held []outbox.Claimed
	last []outbox.Result // the group that it settled last
}

const emptyTables = `TRUNCATE sonicus.events, sonicus.deliveries, sonicus.attempts, sonicus.queue, sonicus.late_results,
	sonicus.audit_log, sonicus.endpoints, sonicus.organizations CASCADE`

// start empties the database and makes three organizations and five endpoints: for
// all organizations or one, in order or not, some patient and some not.
func start(r *rapid.T, db *sqlx.DB) *machine {
	m := &machine{
		model: model{logged: map[lease]bool{}, late: map[lease]bool{}}, db: db, ctx: r.Context(), byID: map[uuid.UUID]*delivery{},
		organizations: []uuid.UUID{uuid.New(), uuid.New(), uuid.New()},
	}
	one := &m.organizations[0]
	m.endpoints = []*endpoint{
		{maxAttempts: 3, limit: policy.Failures},
		{maxAttempts: 2, limit: 1, organization: one},
		{maxAttempts: 3, limit: policy.Failures, ordered: true},
		{maxAttempts: 10, limit: 6, ordered: true, organization: one},
		{maxAttempts: 1, limit: policy.Failures, ordered: true},
	}
	m.tx(r, func(tx *sqlx.Tx, now time.Time) error {
		if _, err := tx.ExecContext(m.ctx, emptyTables); err != nil {
			return err
		}
		for _, id := range m.organizations {
			if _, err := tx.ExecContext(m.ctx, `INSERT INTO sonicus.organizations
				(id, name, display_name, domain, primary_contact_email, subscription_tier, subscription_status, max_users, created_at, updated_at)
				VALUES ($1::uuid, 'n', 'n', $1::uuid::text, 'a@b.example', 'starter', 'active', 1, now(), now())`, id); err != nil {
				return err
			}
			if _, err := outbox.Publish(m.ctx, tx, envelope("organization.created", id, now)); err != nil {
				return err
			}
		}
		for _, e := range m.endpoints {
			e.id, e.active, e.breaker.state = uuid.New(), true, outbox.Closed
			if _, err := tx.ExecContext(m.ctx, `INSERT INTO sonicus.endpoints
				(id, url, name, organization_id, events, max_retries, ordering, breaker_failures, created_at, updated_at)
				VALUES ($1, 'http://127.0.0.1:1/', 'test', $2, '["organization.*"]', $3, CASE WHEN $4 THEN 'organization' ELSE 'none' END,
				        nullif($5::integer, $6::integer), now(), now())`,
				e.id, e.organization, e.maxAttempts-1, e.ordered, e.limit, policy.Failures); err != nil {
				return err
			}
		}
		return nil
	})
	return m
}

func envelope(kind string, organization uuid.UUID, at time.Time) event.Envelope {
	return event.Envelope{ID: postgres.NewID(at), Type: kind, Time: at, OrganizationID: &organization, Payload: []byte(`{}`)}
}

// actions are what rapid draws from; the more frequent ones are there twice.
func (m *machine) actions() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"claim": m.claimSome, "claim again": m.claimSome, "publish": m.publishSome, "publish more": m.publishSome,
		"release": m.releaseSome, "replay": m.replaySome, "settle": m.settleSome, "settle more": m.settleSome, "settle twice": m.settleTwice,
		"retry by hand": m.retrySome, "cancel": m.cancelSome, "switch": m.turnSwitch, "time ends leases": m.endLeases, "time makes due": m.becomeDue, "time passes for breakers": m.passBreakers,
	}
	for name, action := range actions {
		actions[name] = func(r *rapid.T) {
			action(r)
			m.calls++
			if m.calls%compareEvery == 0 {
				m.compare(r)
			}
		}
	}
	return actions
}

func (m *machine) publishSome(r *rapid.T) {
	of := make([]int, rapid.IntRange(1, batch/2).Draw(r, "how many"))
	for i := range of {
		of[i] = rapid.IntRange(0, len(m.organizations)-1).Draw(r, "organization")
	}
	var events []event.Envelope
	var got [][]uuid.UUID
	m.tx(r, func(tx *sqlx.Tx, now time.Time) error {
		events, got = nil, nil
		for _, o := range of {
			ev := envelope("organization.updated", m.organizations[o], now)
			to, err := outbox.Publish(m.ctx, tx, ev)
			if err != nil {
				return err
			}
			events, got = append(events, ev), append(got, to)
		}
		return nil
	})
	for i, ev := range events {
		sameIDs(r, "published to", got[i], m.publish(ev.ID, *ev.OrganizationID))
		m.steps += max(1, len(got[i]))
	}
	m.index()
}

const replay = `
WITH old AS (
    SELECT n, d.*, sonicus.delivery_id(d.event_id, d.endpoint_id, a.generation) AS next_id, a.generation AS next
    FROM unnest($1::uuid[], $2::integer[]) WITH ORDINALITY AS a (id, generation, n) JOIN sonicus.deliveries d USING (id)
), asked AS (
    INSERT INTO sonicus.replays (id, mode, since, until, rate_limit, state, created, position, paced_until, requested_by, created_at, updated_at, finished_at)
    SELECT gen_random_uuid(), 'all', now() - interval '1 hour', now(), 1, 'done', cardinality($1), sonicus.id_floor(now()), now(), 'model', now(), now(), now()
    RETURNING id
), written AS (
    INSERT INTO sonicus.deliveries (id, event_id, endpoint_id, event_type, generation, max_attempts, created_at, replay_id)
    SELECT next_id, event_id, endpoint_id, event_type, next, max_attempts, now(), asked.id FROM old, asked
)
INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at)
SELECT next_id, endpoint_id, statement_timestamp() - (cardinality($1) - n) * interval '1 microsecond' FROM old`

func (m *machine) replaySome(r *rapid.T) {
	done := some(r, those(m.all, func(d *delivery) bool { return d.status == outbox.Sent || d.status == outbox.Failed }), 4)
	var generations pq.Int64Array
	for _, d := range done {
		generations = append(generations, int64(m.replay(d, m.tick()).generation))
	}
	m.index()
	m.exec(r, replay, ids(done), generations)
	m.steps += len(done)
}

func (m *machine) claimSome(r *rapid.T) {
	d := &m.dispatchers[rapid.IntRange(0, len(m.dispatchers)-1).Draw(r, "dispatcher")]
	var asks []ask
	var lanes []outbox.Ask
	for _, i := range some(r, []int{0, 1, 2, 3, 4}, len(m.endpoints)) {
		a := ask{endpoint: m.endpoints[i]}
		for lane := range a.most {
			if a.most[lane] = rapid.IntRange(0, batch).Draw(r, "most"); a.most[lane] > 0 {
				lanes = append(lanes, outbox.Ask{Lane: outbox.Lane{EndpointID: a.endpoint.id, Retry: lane == 1}, Most: a.most[lane]})
			}
		}
		asks = append(asks, a)
	}
	claimed, visits, err := outbox.Claim(m.ctx, m.db, lanes)
	if err != nil {
		r.Fatal(err)
	}
	m.checkVisits(r, lanes, visits, claimed)
	for _, a := range asks {
		var taken []*delivery
		for _, c := range claimed {
			if c.EndpointID == a.endpoint.id {
				taken = append(taken, m.checkClaimed(r, c))
			}
		}
		if wrong := m.mayTake(a, taken); wrong != "" {
			fail(r, "a claim took what it should not, or left what it should take", "%v from endpoint %d: %s", a.most, slices.Index(m.endpoints, a.endpoint), wrong)
		}
		if len(taken) > 0 {
			m.take(a, taken, claimed[0].Token)
		}
	}
	// In the order of the model, so that the same draws mean the same.
	place := map[uuid.UUID]int{}
	for i, d := range m.all {
		place[d.id] = i
	}
	slices.SortFunc(claimed, func(a, b outbox.Claimed) int { return place[a.DeliveryID] - place[b.DeliveryID] })
	d.held = append(d.held, claimed...)
	m.steps += max(1, len(claimed))
}

// checkVisits compares what a claim says of each lane with what it took.
func (m *machine) checkVisits(r *rapid.T, asked []outbox.Ask, visits []outbox.Visit, claimed []outbox.Claimed) {
	if len(visits) != len(asked) {
		fail(r, "not one visit for each lane", "%d visits to %d lanes", len(visits), len(asked))
	}
	taken := map[outbox.Lane]int{}
	for _, c := range claimed {
		taken[c.Lane]++
	}
	for _, v := range visits {
		if v.Taken != taken[v.Lane] || v.Since.IsZero() != (v.Taken == 0) {
			fail(r, "a visit is wrong", "%+v, but %d were taken", v, taken[v.Lane])
		}
		for _, e := range m.endpoints {
			if e.id == v.EndpointID && e.breaker.shut && v.AgainIn <= 0 {
				fail(r, "a visit does not say how long the breaker is shut", "%+v", v)
			}
		}
	}
}

// checkClaimed compares what a claim tells of a delivery with the model.
func (m *machine) checkClaimed(r *rapid.T, c outbox.Claimed) *delivery {
	d := m.byID[c.DeliveryID]
	if d == nil {
		fail(r, "claimed what was never written", "%s", c.DeliveryID)
	}
	b := d.endpoint.breaker
	got := fmt.Sprint(c.EndpointID, c.Retry, c.EventID, c.AttemptCount, c.MaxAttempts, c.TookOver, c.OrganizationID.Valid, c.Troubled)
	want := fmt.Sprint(d.endpoint.id, d.retry, d.event, d.attempts, d.max, d.token != 0, d.stream != nil,
		b.failures > 0 || b.state != outbox.Closed)
	if got != want || d.stream != nil && c.OrganizationID.UUID != *d.stream {
		fail(r, "a claimed delivery is wrong", "%s: %s, want %s", d.id, got, want)
	}
	return d
}

// settleSome settles deliveries that a dispatcher believes to hold. A failure is
// tried again while attempts are left, unless the receiver wants no more.
func (m *machine) settleSome(r *rapid.T) {
	d, held := m.someHeld(r)
	d.last = nil
	for _, c := range held {
		result := outbox.Result{
			Claimed: c, StartedAt: time.Now(), Took: time.Millisecond, HTTPStatus: 503, Reason: "unexpected_status", Error: "receiver answered 503",
			Status: outbox.Retrying, RetryIn: time.Hour,
		}
		switch answer := rapid.SampledFrom([]string{"ok", "ok", "ok", "failure", "failure", "gone"}).Draw(r, "answer"); {
		case answer == "ok":
			result.HTTPStatus, result.Reason, result.Error, result.Status = 204, "", "", outbox.Sent
		case answer == "gone":
			result.HTTPStatus, result.Reason, result.Status, result.FailureReason = 410, "gone", outbox.Failed, "gone"
		case c.AttemptCount+1 >= c.MaxAttempts:
			result.Status, result.FailureReason = outbox.Failed, "exhausted"
		}
		d.last = append(d.last, result)
	}
	m.settle(r, d.last)
}

// settleTwice sends a group of results again, as when the answer to COMMIT was lost.
func (m *machine) settleTwice(r *rapid.T) {
	d := &m.dispatchers[rapid.IntRange(0, len(m.dispatchers)-1).Draw(r, "dispatcher")]
	if len(d.last) == 0 {
		r.Skip()
	}
	m.settle(r, d.last)
}

// settle is what a dispatcher does with a group of results, in one transaction.
func (m *machine) settle(r *rapid.T, results []outbox.Result) {
	outcomes := make([]outbox.Outcome, len(m.endpoints))
	for i, e := range m.endpoints {
		outcomes[i].EndpointID = e.id
		for _, result := range results {
			switch {
			case result.EndpointID != e.id:
			case result.Status == outbox.Sent:
				outcomes[i].Successes++
			default:
				outcomes[i].Failures++
			}
		}
	}
	heard := slices.DeleteFunc(slices.Clone(outcomes), func(o outbox.Outcome) bool { return o.Successes+o.Failures == 0 })
	var late []uuid.UUID
	var promoted []outbox.Work
	var health outbox.Health
	m.tx(r, func(tx *sqlx.Tx, now time.Time) (err error) {
		if late, err = outbox.Settle(m.ctx, tx, "test", results); err != nil {
			return err
		}
		if promoted, err = outbox.Promote(m.ctx, tx, results); err != nil {
			return err
		}
		health, err = outbox.RecordHealth(m.ctx, tx, now, heard, policy)
		return err
	})
	var wantLate []uuid.UUID
	for _, result := range results {
		if m.model.settle(m.byID[result.DeliveryID], result.Token, result.Status, result.FailureReason) {
			wantLate = append(wantLate, result.DeliveryID)
		}
	}
	sameIDs(r, "late", late, wantLate)
	sameIDs(r, "promoted", endpointsOf(promoted), m.promote())
	got, want := map[uuid.UUID]string{}, map[uuid.UUID]string{}
	for i, e := range m.endpoints {
		from := e.breaker.state
		if e.breaker.hear(outcomes[i].Successes, outcomes[i].Failures, e.limit); e.breaker.state != from {
			want[e.id] = fmt.Sprint(from, " to ", e.breaker.state, " after ", e.breaker.failures)
		}
	}
	for _, c := range health.Changes {
		got[c.EndpointID] = fmt.Sprint(c.From, " to ", c.To, " after ", c.Failures)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(health.Hopeless) > 0 {
		fail(r, "the breakers' changes differ", "-model +outbox: %s hopeless: %v", diff, health.Hopeless)
	}
	m.steps += len(results)
}

func (m *machine) releaseSome(r *rapid.T) {
	_, held := m.someHeld(r)
	wait := rapid.Bool().Draw(r, "wait")
	var in time.Duration
	if wait {
		in = time.Hour
	}
	if err := outbox.Release(m.ctx, m.db, held, in); err != nil {
		r.Fatal(err)
	}
	for _, c := range held {
		m.release(m.byID[c.DeliveryID], c.Token, wait)
	}
	m.steps += len(held)
}

func (m *machine) retrySome(r *rapid.T) {
	m.byHand(r, some(r, m.all, 4), (*outbox.Deliveries).Retry, m.retryNow)
}

func (m *machine) cancelSome(r *rapid.T) {
	m.byHand(r, some(r, m.queue, 2), (*outbox.Deliveries).Cancel, m.cancel)
}

// byHand does to deliveries, one after another, what an administrator may do.
func (m *machine) byHand(r *rapid.T, to []*delivery, do func(*outbox.Deliveries, context.Context, uuid.UUID) (outbox.Shown, error), mine func(*delivery) string) {
	for _, d := range to {
		shown, err := do(outbox.NewDeliveries(m.db, nil), m.ctx, d.id)
		refused := ""
		if p, ok := errors.AsType[*problem.Error](err); ok {
			refused = p.Code
		} else if err != nil {
			r.Fatal(err)
		}
		if want := mine(d); refused != want {
			fail(r, "what is done by hand is refused otherwise", "%s: %q, want %q", d.id, refused, want)
		}
		if err == nil && (shown.Status != d.status || shown.AttemptCount != d.attempts || shown.MaxAttempts != d.max) {
			fail(r, "what was done by hand is shown otherwise", "%+v, want %+v", shown.Delivery, d)
		}
		m.steps++
	}
}

func (m *machine) becomeDue(r *rapid.T) {
	waiting := some(r, those(m.queue, func(d *delivery) bool { return d.when == later }), batch)
	for _, d := range waiting {
		d.when, d.due = due, m.tick()
	}
	m.exec(r, `UPDATE sonicus.queue q SET due_at = statement_timestamp() - (cardinality($1::uuid[]) - d.n) * interval '1 microsecond'
		FROM unnest($1::uuid[]) WITH ORDINALITY AS d (id, n) WHERE q.delivery_id = d.id`, ids(waiting))
	m.steps += len(waiting)
}

func (m *machine) endLeases(r *rapid.T) {
	leased := some(r, those(m.queue, func(d *delivery) bool { return d.token != 0 && !d.ended }), batch)
	for _, d := range leased {
		d.ended = true
	}
	m.exec(r, `UPDATE sonicus.queue SET lease_until = statement_timestamp() WHERE delivery_id = ANY ($1::uuid[])`, ids(leased))
	m.steps += len(leased)
}

// turnSwitch pauses, resumes, disables or enables an endpoint. One that is off is
// more likely to be switched on than the reverse.
func (m *machine) turnSwitch(r *rapid.T) {
	e := m.endpoints[rapid.IntRange(0, len(m.endpoints)-1).Draw(r, "endpoint")]
	if e.active && !e.paused && rapid.IntRange(0, 2).Draw(r, "leave on") > 0 {
		r.Skip()
	}
	switch {
	case !e.active && !e.paused || e.active && !e.paused && rapid.Bool().Draw(r, "disable"):
		e.active = !e.active
	default:
		e.paused = !e.paused
	}
	m.exec(r, `UPDATE sonicus.endpoints SET is_active = $2, paused_at = CASE WHEN $3 THEN now() END WHERE id = $1`, e.id, e.active, e.paused)
	m.steps++
}

// passBreakers lets the time of breakers pass: a shut one may let a probe through,
// and one that recovers has recovered.
func (m *machine) passBreakers(r *rapid.T) {
	var held []*endpoint
	for _, e := range m.endpoints {
		if e.breaker.shut || e.breaker.recovering {
			held = append(held, e)
		}
	}
	held = some(r, held, len(m.endpoints))
	var of pq.StringArray
	for _, e := range held {
		e.breaker.shut, e.breaker.recovering = false, false
		of = append(of, e.id.String())
	}
	m.exec(r, `UPDATE sonicus.lanes SET breaker_until = CASE WHEN breaker_until IS NOT NULL THEN statement_timestamp() END,
		recovering_since = recovering_since - interval '10 seconds' WHERE endpoint_id = ANY ($1::uuid[])`, of)
	m.steps += len(held)
}

const state = `
SELECT concat(d.id, ' ', d.endpoint_id, ' ', d.generation, ' ', d.status, d.failure_reason, ' ', d.attempt_count, '/', d.max_attempts, ' ',
              CASE WHEN q.delivery_id IS NOT NULL THEN concat(
                  CASE WHEN q.due_at IS NULL THEN 'turn' WHEN q.due_at > statement_timestamp() THEN 'later' ELSE 'due' END,
                  ' retry ', q.retry::text, ' lease ', coalesce(q.lease_token, 0),
                  ' live ', coalesce(q.lease_until > statement_timestamp(), false)::text, ' stream ', coalesce(q.organization_id::text, '-')) END)
FROM sonicus.deliveries d FULL JOIN sonicus.queue q ON q.delivery_id = d.id
UNION ALL
SELECT concat('lane ', e.id, ' ', l.breaker_state, ' shut ', coalesce(l.breaker_until > statement_timestamp(), false)::text,
              ' failures ', l.failures, ' openings ', l.openings, ' active ', e.is_active::text, ' paused ', (e.paused_at IS NOT NULL)::text)
FROM sonicus.endpoints e JOIN sonicus.lanes l ON l.endpoint_id = e.id
UNION ALL
SELECT concat('late ', delivery_id, ' ', lease_token) FROM sonicus.late_results`

// compare holds the whole of the database against the whole of the model.
func (m *machine) compare(r *rapid.T) {
	var got string
	if err := m.db.GetContext(m.ctx, &got, `SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM (`+state+`) AS s (line)`); err != nil {
		r.Fatal(err)
	}
	if want := m.lines(); got != strings.Join(want, "\n") {
		fail(r, "the state differs", "-model +database:\n%s", cmp.Diff(want, strings.Split(got, "\n")))
	}
	sweep, err := outbox.Sweep(m.ctx, m.db, 0)
	if err != nil {
		r.Fatal(err)
	}
	arrivals, err := outbox.Arrivals(m.ctx, m.db, time.Hour)
	if err != nil {
		r.Fatal(err)
	}
	wantSweep, wantArrivals := m.found()
	sameLanes(r, "sweep", sweep, wantSweep)
	sameLanes(r, "arrivals", arrivals, wantArrivals)
}

func (m *machine) verify(r *rapid.T) {
	broken, err := outbox.Verify(m.ctx, m.db)
	if err != nil {
		r.Fatal(err)
	}
	for _, v := range broken {
		r.Logf("%d, for example %s", v.Count, v.Example)
		r.Error("broken: " + v.Invariant)
	}
}

// index makes the newest deliveries known by id.
func (m *machine) index() {
	for i := len(m.all) - 1; i >= 0 && m.byID[m.all[i].id] == nil; i-- {
		m.byID[m.all[i].id] = m.all[i]
	}
}

func those(of []*delivery, match func(*delivery) bool) (found []*delivery) {
	for _, d := range of {
		if match(d) {
			found = append(found, d)
		}
	}
	return found
}

// someHeld takes from a dispatcher some of what it believes to hold.
func (m *machine) someHeld(r *rapid.T) (*dispatcher, []outbox.Claimed) {
	d := &m.dispatchers[rapid.IntRange(0, len(m.dispatchers)-1).Draw(r, "dispatcher")]
	held := some(r, d.held, batch)
	for _, h := range held {
		d.held = slices.DeleteFunc(d.held, func(c outbox.Claimed) bool { return c.DeliveryID == h.DeliveryID && c.Token == h.Token })
	}
	return d, held
}

// some draws a part of all, and skips the action when there is nothing.
func some[T any](r *rapid.T, all []T, most int) []T {
	if len(all) == 0 {
		r.Skip()
	}
	n := rapid.IntRange(1, min(most, len(all))).Draw(r, "how many")
	from := rapid.IntRange(0, len(all)-n).Draw(r, "from")
	return slices.Clone(all[from : from+n])
}

func ids(of []*delivery) (all pq.StringArray) {
	for _, d := range of {
		all = append(all, d.id.String())
	}
	return all
}

func endpointsOf(work []outbox.Work) (ids []uuid.UUID) {
	for _, w := range work {
		ids = append(ids, w.EndpointID)
	}
	return ids
}

func sameIDs(r *rapid.T, what string, got, want []uuid.UUID) {
	byText := func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) }
	slices.SortFunc(got, byText)
	slices.SortFunc(want, byText)
	if !slices.Equal(got, want) {
		fail(r, what+" differ", "%v, want %v", got, want)
	}
}

func sameLanes(r *rapid.T, what string, got []outbox.Work, want []outbox.Lane) {
	count := map[outbox.Lane]int{}
	for _, w := range got {
		count[w.Lane]++
	}
	for _, l := range want {
		count[l]--
	}
	for l, n := range count {
		if n != 0 {
			fail(r, what+" differs", "%+v is named %+d times, compared with the model", l, n)
		}
	}
}

// fail ends the check. what must say the same in every run: rapid shortens a
// sequence only as long as the error stays the same, and ids do not.
func fail(r *rapid.T, what, format string, args ...any) {
	r.Helper()
	r.Logf(format, args...)
	r.Fatal(what)
}

func (m *machine) tx(r *rapid.T, fn func(*sqlx.Tx, time.Time) error) {
	if err := postgres.InTx(m.ctx, m.db, fn); err != nil {
		r.Fatal(err)
	}
}

func (m *machine) exec(r *rapid.T, query string, args ...any) {
	if _, err := m.db.ExecContext(m.ctx, query, args...); err != nil {
		r.Fatal(err)
	}
}
