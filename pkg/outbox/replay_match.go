package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// replayable says which deliveries d of endpoint e a replay is about, but for that
// only the newest of an event and an endpoint counts, and tests are over. One that was
// made since the replay was asked for is not part of it: what the replay itself has
// made above all.
const replayable = `
      e.deleted_at IS NULL AND d.status = ANY ($4) AND d.created_at < $5
  AND ($6::text[] IS NULL OR d.event_type = ANY ($6))
  AND ($7::uuid IS NULL OR $7 = (SELECT v.organization_id FROM sonicus.events v WHERE v.id = d.event_id))`

// missed says which events v, of patterns p, endpoint e would get, were they published
// now, but for that they were never delivered to it. Tests are over.
const missed = `
      v.created_at < $5 AND NOT v.test
  AND ($6::text[] IS NULL OR v.event_type = ANY ($6))
  AND ($7::uuid IS NULL OR v.organization_id = $7)
  AND sonicus.concerns(e, v.organization_id)
  AND sonicus.skipped(e, p.patterns,
                      CASE WHEN e.filter_paths IS NOT NULL THEN sonicus.document(v.payload) END) IS NULL`

// matching says what matches the type of event v, worked out once for each type.
const matching = `
JOIN (SELECT t.key AS event_type, ARRAY (SELECT jsonb_array_elements(t.value)) AS patterns FROM jsonb_each($4::jsonb) t OFFSET 0) p
  ON p.event_type = v.event_type`

// The two counts look for newer deliveries, for any, and for tests by a hash of them
// all; a step looks for each by its id, which follows from event, endpoint and generation.
const (
	countReplayable = `
SELECT count(*)
FROM sonicus.deliveries d
JOIN sonicus.endpoints e ON e.id = d.endpoint_id
WHERE ($1::uuid IS NULL OR d.endpoint_id = $1) AND d.id > $2 AND d.id < $3 AND ` + replayable + `
  AND NOT EXISTS (SELECT FROM sonicus.events v WHERE v.id = d.event_id AND v.test AND v.id > $2 AND v.id < $3)
  AND NOT EXISTS (SELECT FROM sonicus.deliveries n
                  WHERE n.event_id = d.event_id AND n.endpoint_id = d.endpoint_id AND n.generation = d.generation + 1
                    AND n.generation > 1 AND n.id > $2 AND n.id < $3)`
	countMissed = `
SELECT count(*)
FROM sonicus.events v
JOIN sonicus.endpoints e ON e.id = $1` + matching + `
WHERE v.id > $2 AND v.id < $3 AND ` + missed + `
  AND NOT EXISTS (SELECT FROM sonicus.deliveries d WHERE d.event_id = v.id AND d.endpoint_id = $1 AND d.id > $2 AND d.id < $3)`
)

// How long counting may take. A replay does without; a rehearsal is about nothing else.
const (
	countTimeout    = 3 * time.Second
	rehearseTimeout = 10 * time.Second
)

// count says how many deliveries the replay would make of what there is now; nil when
// that takes too long to find out.
func (r Replay) count(ctx context.Context, tx *sqlx.Tx) (*int64, error) {
	limit := countTimeout
	if r.State == ReplayRehearsed {
		limit = rehearseTimeout
	}
	query := countReplayable
	if r.Mode == ReplayMissing {
		query = countMissed
	}
	if _, err := tx.ExecContext(ctx, `SAVEPOINT counting`); err != nil {
		return nil, fmt.Errorf("begin to count: %w", err)
	}
	n, err := timed(ctx, tx, limit, query, r.arguments()...)
	if errors.Is(err, errTooSlow) {
		if _, err := tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT counting`); err != nil {
			return nil, fmt.Errorf("give up counting: %w", err)
		}
		return nil, nil //nolint:nilnil // it is not known
	}
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	return &n, nil
}

// errTooSlow: a count has taken longer than it may.
var errTooSlow = errors.New("too slow")

func timed(ctx context.Context, tx *sqlx.Tx, limit time.Duration, query string, args ...any) (n int64, err error) {
	if _, err := tx.ExecContext(ctx, `SELECT set_config('statement_timeout', $1, true)`, fmt.Sprint(limit.Milliseconds())); err != nil {
		return 0, err
	}
	err = tx.GetContext(ctx, &n, query, args...)
	if postgres.StatementTimeout(err) {
		return 0, errTooSlow
	}
	return n, err
}

// arguments are the placeholders of all statements here: what is up to the position
// is done, and ids are bounded by the time in them.
func (r Replay) arguments() []any {
	var fourth any = r.ended()
	if r.Mode == ReplayMissing {
		fourth = patternsByType()
	}
	return []any{r.EndpointID, r.Position, msFloor(r.Until.UnixMilli()), fourth, r.CreatedAt, r.EventTypes, r.OrganizationID}
}

// patternsByType has, for every event type, the patterns that match it.
func patternsByType() postgres.JSON {
	all := map[string]pq.StringArray{}
	for _, t := range event.Types() {
		all[t] = event.Patterns(t)
	}
	encoded, _ := json.Marshal(all) // texts always encode
	return postgres.JSON(encoded)
}
