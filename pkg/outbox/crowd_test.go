package outbox_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
)

// crowdedFor is how long a crowd works.
const crowdedFor = 2 * time.Second

// crowd is all those who reach for the same few deliveries.
type crowd struct {
	db            *sqlx.DB
	deliveries    *outbox.Deliveries
	replays       *outbox.Replays
	organizations []uuid.UUID
	began         time.Time
}

// Publishers, dispatchers, administrators and replays at the same time, also while an
// endpoint is deleted: nobody deadlocks, the books agree, and the queue can be worked
// off afterwards.
func TestCrowdKeepsTheBooks(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	c := &crowd{db: db, deliveries: outbox.NewDeliveries(db, nil), replays: outbox.NewReplays(db), began: time.Now().Add(-time.Minute)}
	doomed := endpoint(t, db, target{MaxRetries: 1, Ordered: true})
	endpoint(t, db, target{MaxRetries: 2, Events: `["organization.*", "webhook.*"]`})
	endpoint(t, db, target{MaxRetries: 1, Ordered: true})
	for range 2 {
		c.organizations = append(c.organizations, organization(t, db))
		publish(t, db, c.organizations[len(c.organizations)-1], 3)
	}
	ctx, stop := context.WithTimeout(t.Context(), crowdedFor)
	defer stop()
	var all sync.WaitGroup
	for _, work := range []func(context.Context) error{
		c.publish, c.deliver, c.deliver, c.deliver, c.act(c.deliveries.Retry), c.act(c.deliveries.Retry), c.act(c.deliveries.Cancel), c.replay, c.step, c.step, c.abandon,
	} {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := work(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	<-time.After(crowdedFor / 2)
	deleteEndpoint(t, db, doomed)
	all.Wait()
	booksAgree(t, db)
	if n := count(t, db, `(SELECT FROM sonicus.queue q JOIN sonicus.deliveries d ON d.id = q.delivery_id GROUP BY d.event_id, d.endpoint_id HAVING count(*) > 1) twice`); n != 0 {
		t.Errorf("%d events are on their way to an endpoint twice", n)
	}
	c.drain(t)
	for _, happened := range []string{
		`deliveries WHERE generation > 2`, `deliveries WHERE failure_reason = 'endpoint_deleted'`, `late_results`,
		`audit_log WHERE action = 'delivery.retry'`, `audit_log WHERE action = 'delivery.cancel'`,
	} {
		if count(t, db, `sonicus.`+happened) == 0 {
			t.Errorf("the crowd did too little: no %s", happened)
		}
	}
}

// drain works off what the crowd has left.
func (c *crowd) drain(t *testing.T) {
	t.Helper()
	exec(t, c.db, `UPDATE sonicus.replays SET state = 'canceled', finished_at = now() WHERE state = 'running'`)
	for deadline := time.Now().Add(time.Minute); count(t, c.db, `sonicus.queue`) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d deliveries stalled", count(t, c.db, `sonicus.queue`))
		}
		endLeases(t, c.db)
		if err := errors.Join(c.deliver(t.Context()), c.abandon(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	booksAgree(t, c.db)
}

func (c *crowd) publish(ctx context.Context) error {
	<-time.After(time.Millisecond)
	return postgres.InTx(ctx, c.db, func(tx *sqlx.Tx, now time.Time) error {
		id := c.organizations[rand.IntN(2)]
		ev, err := event.NewOrganizationCreated(postgres.NewID(now), now, event.Organization{ID: id}, nil)
		if err != nil {
			return err
		}
		ev.Type, ev.Test = "organization.updated", rand.IntN(10) == 0
		_, err = outbox.Publish(ctx, tx, ev)
		return err
	})
}

// deliver claims some and settles them with any outcome, as a dispatcher does; one in
// ten of its leases has ended by then.
func (c *crowd) deliver(ctx context.Context) error {
	work, err := outbox.Sweep(ctx, c.db, 0)
	if err != nil || len(work) == 0 {
		return err
	}
	var asks []outbox.Ask
	for _, w := range work {
		asks = append(asks, outbox.Ask{Lane: w.Lane, Most: 5})
	}
	claimed, _, err := outbox.Claim(ctx, c.db, asks)
	if err != nil || len(claimed) == 0 {
		return err
	}
	if rand.IntN(10) == 0 {
		if _, err := c.db.ExecContext(ctx, `UPDATE sonicus.queue SET lease_until = clock_timestamp() WHERE lease_token = $1`, claimed[0].Token); err != nil {
			return err
		}
	}
	<-time.After(time.Duration(rand.IntN(5)) * time.Millisecond)
	results, outcomes := anyOutcome(claimed)
	return postgres.InTx(ctx, c.db, func(tx *sqlx.Tx, now time.Time) error {
		if _, err := outbox.Settle(ctx, tx, "crowd", results); err != nil {
			return err
		}
		if _, err := outbox.Promote(ctx, tx, results); err != nil {
			return err
		}
		_, err := outbox.RecordHealth(ctx, tx, now, outcomes, outbox.BreakerPolicy{})
		return err
	})
}

// anyOutcome ends attempts in every way, in any order.
func anyOutcome(claimed []outbox.Claimed) (results []outbox.Result, outcomes []outbox.Outcome) {
	for _, c := range claimed {
		o := outbox.Outcome{EndpointID: c.EndpointID, Failures: 1}
		switch n := rand.IntN(4); {
		case n == 0:
			results, o.Successes, o.Failures = append(results, sent(c)), 1, 0
		case c.AttemptCount+1 < c.MaxAttempts:
			results = append(results, retrying(c, time.Duration(rand.IntN(20))*time.Millisecond))
		default:
			results = append(results, failed(c, "exhausted"))
		}
		if !slices.ContainsFunc(outcomes, func(known outbox.Outcome) bool { return known.EndpointID == c.EndpointID }) {
			outcomes = append(outcomes, o)
		}
	}
	rand.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	return results, outcomes
}

// act does something with any of the newest deliveries; that it is refused is no error.
func (c *crowd) act(do func(context.Context, uuid.UUID) (outbox.Shown, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		var ids []uuid.UUID
		if err := c.db.SelectContext(ctx, &ids, `SELECT id FROM (SELECT id FROM sonicus.deliveries WHERE status <> 'sent' ORDER BY id DESC LIMIT 40) d ORDER BY random() LIMIT 1`); err != nil || len(ids) == 0 {
			return err
		}
		_, err := do(ctx, ids[0])
		if p, ok := errors.AsType[*problem.Error](err); ok && p.Kind == problem.KindConflict {
			return nil
		}
		return err
	}
}

func (c *crowd) replay(ctx context.Context) error {
	<-time.After(20 * time.Millisecond)
	modes := []string{outbox.ReplayFailed, outbox.ReplayAll}
	r, err := c.replays.Create(ctx, outbox.NewReplay{Mode: modes[rand.IntN(2)], Since: &c.began, RateLimit: new(1000)})
	if err != nil {
		return err
	}
	for _, turn := range []func(context.Context, uuid.UUID) (outbox.Replay, error){c.replays.Pause, c.replays.Resume, c.replays.Cancel}[:rand.IntN(4)] {
		if _, err := turn(ctx, r.ID); err != nil {
			if p, ok := errors.AsType[*problem.Error](err); !ok || p.Code != "replay_over" { // a step was faster
				return err
			}
		}
	}
	return nil
}

func (c *crowd) step(ctx context.Context) error {
	_, err := outbox.StepReplay(ctx, c.db)
	<-time.After(2 * time.Millisecond)
	return err
}

func (c *crowd) abandon(ctx context.Context) error {
	<-time.After(10 * time.Millisecond)
	lanes, err := outbox.Deserted(ctx, c.db)
	for _, lane := range lanes {
		if _, e := outbox.Abandon(ctx, c.db, lane); e != nil {
			err = e
		}
	}
	return err
}
