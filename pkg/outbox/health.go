package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Outcome is how a group of attempts at one endpoint ended. One without successes
// and failures stands for tests, which may have taken the place of a probe.
type Outcome struct {
	EndpointID uuid.UUID
	Successes  int // 2xx answers
	Failures   int
}

// healthOf locks the lanes that have something to learn, in the order of their
// endpoints, so that dispatchers cannot deadlock: any failure, the first success
// after one, and otherwise one success a second.
const healthOf = `
SELECT l.endpoint_id, l.breaker_state, l.breaker_until, l.failures, l.openings, l.failing_since, l.recovering_since,
       l.last_success_at, l.last_failure_at, e.breaker_failures, e.breaker_max_open_seconds, o.successes AS group_successes, o.failures AS group_failures
FROM unnest($1::uuid[], $2::integer[], $3::integer[]) AS o (id, successes, failures)
JOIN sonicus.lanes l ON l.endpoint_id = o.id
JOIN sonicus.endpoints e ON e.id = o.id
WHERE o.failures > 0 OR l.failures > 0 OR l.breaker_state <> 'closed'
   OR l.last_success_at IS NULL OR l.last_success_at <= now() - interval '1 second'
ORDER BY l.endpoint_id
FOR NO KEY UPDATE OF l`

const writeHealth = `
UPDATE sonicus.lanes l
SET breaker_state = b.state, breaker_until = b.until, failures = b.failures, openings = b.openings, failing_since = b.failing_since,
    recovering_since = b.recovering_since, last_success_at = b.last_success_at, last_failure_at = b.last_failure_at
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::integer[], $5::integer[], $6::timestamptz[], $7::timestamptz[],
            $8::timestamptz[], $9::timestamptz[])
     AS b (id, state, until, failures, openings, failing_since, recovering_since, last_success_at, last_failure_at)
WHERE l.endpoint_id = b.id`

// health is a breaker with its endpoint's own settings and the news of it.
type health struct {
	breaker
	EndpointID      uuid.UUID `db:"endpoint_id"`
	BreakerFailures *int      `db:"breaker_failures"`
	MaxOpenSeconds  *int      `db:"breaker_max_open_seconds"`
	Successes       int       `db:"group_successes"`
	Failed          int       `db:"group_failures"`
}

func (h health) policy(p BreakerPolicy) BreakerPolicy {
	if h.BreakerFailures != nil {
		p.Failures = *h.BreakerFailures
	}
	if h.MaxOpenSeconds != nil {
		p.MaxOpen = time.Duration(*h.MaxOpenSeconds) * time.Second
	}
	return p
}

// Change is a breaker that has opened or closed.
type Change struct {
	EndpointID uuid.UUID
	From, To   BreakerState
	Until      *time.Time // unless closed
	Failures   int        // in a row

	FailingSince *time.Time // before it changed
}

// Health is what [RecordHealth] has found.
type Health struct {
	Changes  []Change
	Shut     []uuid.UUID // endpoints whose breaker is not closed now
	Hopeless []uuid.UUID // endpoints that have failed for longer than the policy allows
}

// RecordHealth notes how endpoints did, in the transaction that settles the
// attempts: it moves their breakers, and writes the times of the last success and
// failure, at most about once a second for an endpoint that is well. now is the
// transaction's time.
func RecordHealth(ctx context.Context, tx *sqlx.Tx, now time.Time, outcomes []Outcome, p BreakerPolicy) (Health, error) {
	if len(outcomes) == 0 {
		return Health{}, nil
	}
	var ids pq.StringArray
	var successes, failures pq.Int64Array
	for _, o := range outcomes {
		ids, successes, failures = append(ids, o.EndpointID.String()), append(successes, int64(o.Successes)), append(failures, int64(o.Failures))
	}
	var known []health
	if err := tx.SelectContext(ctx, &known, healthOf, ids, successes, failures); err != nil {
		return Health{}, fmt.Errorf("read health: %w", err)
	}
	if len(known) == 0 {
		return Health{}, nil
	}
	var found Health
	for i, h := range known {
		policy := h.policy(p)
		known[i].breaker = h.after(h.Successes, h.Failed, policy, now)
		if to := known[i].breaker; to.State != h.State {
			found.Changes = append(found.Changes, Change{h.EndpointID, h.State, to.State, to.Until, to.Failures, h.FailingSince})
		}
		if known[i].State != Closed {
			found.Shut = append(found.Shut, h.EndpointID)
		}
		if h.Failed > 0 && known[i].hopeless(policy, now) {
			found.Hopeless = append(found.Hopeless, h.EndpointID)
		}
	}
	return found, saveHealth(ctx, tx, known)
}

func saveHealth(ctx context.Context, tx *sqlx.Tx, all []health) error {
	var ids, states pq.StringArray
	var failures, openings pq.Int64Array
	var until, failing, recovering, success, failure []*time.Time
	for _, h := range all {
		ids, states = append(ids, h.EndpointID.String()), append(states, string(h.State))
		failures, openings = append(failures, int64(h.Failures)), append(openings, int64(h.Openings))
		until, failing, recovering = append(until, h.Until), append(failing, h.FailingSince), append(recovering, h.RecoveringSince)
		success, failure = append(success, h.LastSuccessAt), append(failure, h.LastFailureAt)
	}
	_, err := tx.ExecContext(ctx, writeHealth, ids, states, pq.Array(until), failures, openings, pq.Array(failing), pq.Array(recovering),
		pq.Array(success), pq.Array(failure))
	if err != nil {
		return fmt.Errorf("record health of %d endpoints: %w", len(all), err)
	}
	return nil
}

// HoldLane locks what is known of how an endpoint does, until the caller's
// transaction ends. Whoever changes the endpoint too does this first: those who
// settle write health first, and may then switch the endpoint off.
func HoldLane(ctx context.Context, tx *sqlx.Tx, endpoint uuid.UUID) error {
	_, err := tx.ExecContext(ctx, `SELECT FROM sonicus.lanes WHERE endpoint_id = $1 FOR NO KEY UPDATE`, endpoint)
	if err != nil {
		return fmt.Errorf("lock lane: %w", err)
	}
	return nil
}
