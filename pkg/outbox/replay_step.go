package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// ReplayStep is one bounded transaction of a replay.
type ReplayStep struct {
	Replay    Replay        // as it is now; without an id when none was due
	Created   int           // deliveries made
	Endpoints []uuid.UUID   // theirs, to hint at
	Again     time.Duration // when none was due: how long until one is; 0: none is running
}

// dueReplay takes one for this transaction. Others take another one, or none.
const dueReplay = selectReplay + `
WHERE r.state = 'running' AND r.paced_until <= now()
ORDER BY r.paced_until
LIMIT 1
FOR NO KEY UPDATE SKIP LOCKED`

// nextReplay is when one is due, in seconds.
const nextReplay = `
SELECT extract(epoch FROM min(r.paced_until) - statement_timestamp()) FROM sonicus.replays r WHERE r.state = 'running'`

const advance = `
UPDATE sonicus.replays
SET position = $2, created = $3, state = $4, failure_reason = $5, finished_at = $6, updated_at = $7::timestamptz, paced_until = $7::timestamptz + $8 * interval '1 second'
WHERE id = $1`

// StepReplay makes the next deliveries of a replay that is due: as many as its rate
// allows for a moment, each with the next generation, and due at once. They, how many
// there are and how far the replay is are committed together. After an error the
// step's replay is the one that it happened to, if any.
//
// Those of an endpoint that wants an order come after all that is queued, in the order
// of their events' times.
func StepReplay(ctx context.Context, db *sqlx.DB) (ReplayStep, error) {
	var step ReplayStep
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, now time.Time) error {
		err := tx.GetContext(ctx, &step.Replay, dueReplay)
		if errors.Is(err, postgres.ErrNotFound) {
			return step.wait(ctx, tx)
		}
		if err != nil {
			return err
		}
		return step.make(ctx, tx, now)
	})
	if err != nil {
		return ReplayStep{Replay: step.Replay}, fmt.Errorf("step of a replay: %w", err)
	}
	return step, nil
}

func (s *ReplayStep) wait(ctx context.Context, tx *sqlx.Tx) error {
	var in *float64
	if err := tx.GetContext(ctx, &in, nextReplay); err != nil || in == nil {
		return err
	}
	s.Again = max(seconds(*in), time.Millisecond) // 0 is for none; one that is due is another dispatcher's
	return nil
}

func (s *ReplayStep) make(ctx context.Context, tx *sqlx.Tx, now time.Time) error {
	r := &s.Replay
	gone, err := r.endpointGone(ctx, tx)
	if err != nil {
		return err
	}
	if gone {
		reason := EndpointDeleted
		r.State, r.FailureReason = ReplayGivenUp, &reason
	} else if err := s.makeMore(ctx, tx, now); err != nil {
		return err
	}
	if r.UpdatedAt = now; r.Over() {
		r.FinishedAt = &now
	}
	wait := 0.0
	if s.Created > 0 {
		wait = pace(r.RateLimit).every.Seconds()
	}
	_, err = tx.ExecContext(ctx, advance, r.ID, r.Position, r.Created, r.State, r.FailureReason, r.FinishedAt, now, wait)
	r.inUTC()
	return err
}

func (s *ReplayStep) makeMore(ctx context.Context, tx *sqlx.Tx, now time.Time) error {
	r := &s.Replay
	f, err := r.next(ctx, tx, pace(r.RateLimit).most)
	if err != nil {
		return err
	}
	written, err := r.write(ctx, tx, now, f.chosen)
	if err != nil {
		return err
	}
	seen := map[uuid.UUID]bool{}
	for _, d := range written {
		if !seen[d.EndpointID] {
			seen[d.EndpointID], s.Endpoints = true, append(s.Endpoints, d.EndpointID)
		}
	}
	s.Created, r.Position = len(written), f.position
	r.Created += int64(s.Created)
	if f.all {
		r.State = ReplayDone
	}
	return nil
}

// A beat is how many deliveries a step makes at most, and when the next one may follow.
type beat struct {
	most  int
	every time.Duration
}

// pace spreads a rate over ten to nineteen equal steps a second, or as many as there
// are deliveries. However steps fall, no second has more deliveries than the rate: a
// step that makes fewer waits as long.
func pace(rate int) beat {
	most := max(rate/10, 1)
	return beat{most, time.Second / time.Duration(rate/most)}
}

// remake looks once more, under a lock, whether a delivery is still over: somebody may
// have tried it again since. Locks are taken in the order of the ids, after the turns.
const remake = `
WITH remade AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::integer[], $7::integer[])
                  AS c (source, id, event_id, endpoint_id, event_type, generation, max_attempts)
), over AS MATERIALIZED (
    SELECT d.id
    FROM sonicus.deliveries d
    WHERE d.id = ANY ($1) AND d.id >= $10 AND d.id < $11 AND d.status IN ('sent', 'failed')
    ORDER BY d.id
    FOR SHARE OF d
)
INSERT INTO sonicus.deliveries (id, event_id, endpoint_id, event_type, generation, max_attempts, created_at, replay_id)
SELECT c.id, c.event_id, c.endpoint_id, c.event_type, c.generation, c.max_attempts, $8, $9
FROM remade c
WHERE c.source = c.event_id OR EXISTS (SELECT FROM over o WHERE o.id = c.source)
ON CONFLICT (id) DO NOTHING
RETURNING id`

// enqueue is for deliveries of several events; in an ordered stream only the first is
// due, if nothing is queued before it.
const enqueue = `
INSERT INTO sonicus.queue (delivery_id, endpoint_id, organization_id, position, due_at)
SELECT o.id, o.endpoint_id, o.organization_id, CASE WHEN o.organization_id IS NOT NULL THEN nextval('sonicus.queue_position') END,
       CASE WHEN o.organization_id IS NULL OR o.n = 1 AND NOT EXISTS (
                     SELECT FROM sonicus.queue q
                     WHERE q.endpoint_id = o.endpoint_id AND q.organization_id = o.organization_id AND q.position IS NOT NULL) THEN clock_timestamp() END
FROM (SELECT o.*, row_number() OVER (PARTITION BY o.endpoint_id, o.organization_id ORDER BY o.event_id) AS n
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS o (id, event_id, endpoint_id, organization_id)
      ORDER BY o.event_id) o`

// write makes deliveries and queues them, and returns those that did not exist.
func (r Replay) write(ctx context.Context, tx *sqlx.Tx, now time.Time, chosen []remade) ([]remade, error) {
	if len(chosen) == 0 {
		return nil, nil
	}
	if err := takeTurns(ctx, tx, streams(chosen)...); err != nil {
		return nil, err
	}
	c := columnsOf(chosen)
	low, high := span(c.sources)
	var ids []uuid.UUID
	if err := tx.SelectContext(ctx, &ids, remake, pq.Array(c.sources), pq.Array(c.ids), pq.Array(c.events), pq.Array(c.endpoints),
		c.types, c.generations, c.attempts, now, r.ID, low, high); err != nil {
		return nil, fmt.Errorf("make deliveries: %w", err)
	}
	written := among(chosen, ids)
	c = columnsOf(written)
	if _, err := tx.ExecContext(ctx, enqueue, pq.Array(c.ids), pq.Array(c.events), pq.Array(c.endpoints), pq.Array(c.streams)); err != nil {
		return nil, fmt.Errorf("queue deliveries: %w", err)
	}
	return written, nil
}

// PutOffReplay keeps everybody from a replay for a while, so that others get their turn.
func PutOffReplay(ctx context.Context, db *sqlx.DB, id uuid.UUID, wait time.Duration) error {
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE sonicus.replays SET paced_until = greatest(paced_until, now() + $2 * interval '1 second') WHERE id = $1`, id, wait.Seconds())
		return err
	})
	return wrap("put replay off", err)
}

// FailReplay gives a replay up that cannot go on, unless it has ended meanwhile.
func FailReplay(ctx context.Context, db *sqlx.DB, id uuid.UUID) error {
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, now time.Time) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE sonicus.replays SET state = 'failed', failure_reason = 'internal', updated_at = $2, finished_at = $2
			WHERE id = $1 AND state IN ('running', 'paused')`, id, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("give replay up: %w", err)
	}
	return nil
}
