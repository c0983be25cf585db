package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// Replays are those that were asked for. The dispatchers do them, see [StepReplay].
type Replays struct{ db *sqlx.DB }

// NewReplays makes the replays in db accessible.
func NewReplays(db *sqlx.DB) *Replays { return &Replays{db} }

const insertReplay = `
INSERT INTO sonicus.replays (id, mode, endpoint_id, organization_id, statuses, event_types, since, until, rate_limit, state, matched,
                             position, paced_until, requested_by, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $13, $13)`

// Create asks for a replay, or rehearses one: then it is only counted, nothing is
// written, and it has no id. Problems: Invalid, also for an endpoint that does not
// exist or is deleted; Unavailable, with the code commit_unknown when it cannot be
// told whether there is a replay now.
func (s *Replays) Create(ctx context.Context, n NewReplay) (Replay, error) {
	made, err := idempotency.InTx(ctx, s.db, func(tx *sqlx.Tx, now time.Time) (Replay, error) {
		r, err := n.at(now)
		if err != nil {
			return Replay{}, err
		}
		r.RequestedBy = access.ActorName(ctx)
		return create(ctx, tx, now, r)
	})
	if errors.Is(err, postgres.ErrCommitUnknown) && (n.DryRun || s.appears(ctx, made)) {
		err = nil
	}
	if err != nil {
		return Replay{}, fmt.Errorf("create replay: %w", postgres.Explain(err,
			"It is not known whether the replay was created. Look for it in the list of replays before trying again."))
	}
	return made, nil
}

func create(ctx context.Context, tx *sqlx.Tx, now time.Time, r Replay) (Replay, error) {
	if gone, err := r.endpointGone(ctx, tx); err != nil {
		return Replay{}, err
	} else if gone {
		return Replay{}, problem.Invalid(problem.Field{Field: "endpoint_id", Code: "unknown_endpoint", Detail: "name an endpoint that exists, or leave it out for all"})
	}
	var err error
	if r.Matched, err = r.count(ctx, tx); err != nil || r.State == ReplayRehearsed {
		return r, err
	}
	r.ID = postgres.NewID(now)
	if _, err := tx.ExecContext(ctx, insertReplay, r.ID, r.Mode, r.EndpointID, r.OrganizationID, r.Statuses, r.EventTypes, r.Since, r.Until, r.RateLimit,
		r.State, r.Matched, r.Position, now, r.RequestedBy); err != nil {
		return Replay{}, fmt.Errorf("insert: %w", err)
	}
	return r, access.Record(ctx, tx, now, access.Change{Action: "replay.create", ObjectType: "replay", ObjectID: r.ID, After: r.Shown()})
}

// endpointGone says whether the endpoint of a replay that has one is not there any more.
func (r Replay) endpointGone(ctx context.Context, tx *sqlx.Tx) (gone bool, err error) {
	err = tx.GetContext(ctx, &gone, `SELECT $1::uuid IS NOT NULL AND NOT EXISTS (SELECT FROM sonicus.endpoints e WHERE e.id = $1 AND e.deleted_at IS NULL)`, r.EndpointID)
	if err != nil {
		return false, fmt.Errorf("look for the endpoint: %w", err)
	}
	return gone, nil
}

const selectReplay = `
SELECT r.id, r.mode, r.endpoint_id, r.organization_id, r.statuses, r.event_types, r.since, r.until, r.rate_limit, r.state, r.failure_reason,
       r.matched, r.created, r.position, r.requested_by, r.created_at, r.updated_at, r.finished_at
FROM sonicus.replays r`

// Get returns a replay. Problems: NotFound, Unavailable.
func (s *Replays) Get(ctx context.Context, id uuid.UUID) (Replay, error) {
	r, err := one(ctx, s.db, selectReplay+` WHERE r.id = $1`, id)
	if err != nil {
		return Replay{}, fmt.Errorf("get replay: %w", postgres.Explain(err, ""))
	}
	return r, nil
}

// List returns up to limit replays, the newest first, with ids below before;
// uuid.Nil begins with the newest. Problems: Unavailable.
func (s *Replays) List(ctx context.Context, limit int, before uuid.UUID) ([]Replay, error) {
	if before == uuid.Nil {
		before = uuid.Max
	}
	all := []Replay{}
	if err := s.db.SelectContext(ctx, &all, selectReplay+` WHERE r.id < $1 ORDER BY r.id DESC LIMIT $2`, before, limit); err != nil {
		return nil, fmt.Errorf("list replays: %w", postgres.Explain(err, ""))
	}
	for i := range all {
		all[i].inUTC()
	}
	return all, nil
}

// Pause lets a replay rest: what it has made is sent, and nothing more is made. One
// that is paused already is left as it is. Problems of this and its two siblings:
// NotFound; Conflict (replay_over) for one that has ended otherwise; Unavailable as
// for [Replays.Create].
func (s *Replays) Pause(ctx context.Context, id uuid.UUID) (Replay, error) {
	return s.turn(ctx, id, "pause", ReplayPaused)
}

// Resume lets a paused replay go on where it was.
func (s *Replays) Resume(ctx context.Context, id uuid.UUID) (Replay, error) {
	return s.turn(ctx, id, "resume", ReplayRunning)
}

// Cancel ends a replay. What it has made stays, and is sent.
func (s *Replays) Cancel(ctx context.Context, id uuid.UUID) (Replay, error) {
	return s.turn(ctx, id, "cancel", ReplayCanceled)
}

func (s *Replays) turn(ctx context.Context, id uuid.UUID, action, state string) (Replay, error) {
	after, err := idempotency.InTx(ctx, s.db, func(tx *sqlx.Tx, now time.Time) (Replay, error) {
		return turned(ctx, tx, now, id, action, state)
	})
	if errors.Is(err, postgres.ErrCommitUnknown) && s.appears(ctx, after) {
		err = nil
	}
	if err != nil {
		return Replay{}, fmt.Errorf("%s replay: %w", action, postgres.Explain(err, "It is not known whether the replay was changed. Look at it before trying again."))
	}
	return after, nil
}

// turned waits for a step that is being made: afterwards nobody makes another one, if
// the state says so.
func turned(ctx context.Context, tx *sqlx.Tx, now time.Time, id uuid.UUID, action, state string) (Replay, error) {
	before, err := one(ctx, tx, selectReplay+` WHERE r.id = $1 FOR NO KEY UPDATE`, id)
	if err != nil || before.State == state {
		return before, err
	}
	if before.Over() {
		return Replay{}, problem.Conflict("replay_over", "", "The replay has ended: it is "+before.State+".")
	}
	after := before
	after.State, after.UpdatedAt = state, now
	if after.Over() {
		after.FinishedAt = &now
	}
	if _, err := tx.ExecContext(ctx, `UPDATE sonicus.replays SET state = $2, updated_at = $3, finished_at = $4 WHERE id = $1`,
		id, after.State, after.UpdatedAt, after.FinishedAt); err != nil {
		return Replay{}, fmt.Errorf("set state: %w", err)
	}
	return after, access.Record(ctx, tx, now, access.Change{Action: "replay." + action, ObjectType: "replay", ObjectID: id, Before: before.Shown(), After: after.Shown()})
}

// appears looks, after a commit whose outcome is unknown, whether a replay is in the
// state that it would have brought, or one that can only follow on it.
func (s *Replays) appears(ctx context.Context, r Replay) bool {
	return postgres.Appears(ctx, func(ctx context.Context) error {
		found, err := one(ctx, s.db, selectReplay+` WHERE r.id = $1`, r.ID)
		if err == nil && !found.UpdatedAt.Equal(r.UpdatedAt) && !slices.Contains([]string{r.State, ReplayDone}, found.State) {
			return postgres.ErrNotFound
		}
		return err
	})
}

func one(ctx context.Context, from sqlx.QueryerContext, query string, id uuid.UUID) (r Replay, err error) {
	err = sqlx.GetContext(ctx, from, &r, query, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return Replay{}, problem.NotFound("replay")
	}
	if err != nil {
		return Replay{}, fmt.Errorf("read: %w", err)
	}
	r.inUTC()
	return r, nil
}
