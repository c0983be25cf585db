package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// Window is how far statistics reach back.
type Window struct {
	Name string // what callers use
	Span time.Duration
	Step time.Duration // what its beginning is rounded down to: rows are not divided
}

// Windows are those that there are.
func Windows() []Window {
	return []Window{{"1h", time.Hour, tallySpan}, {"24h", 24 * time.Hour, time.Hour}, {"7d", 7 * 24 * time.Hour, time.Hour}}
}

// Statistics are what became of the deliveries to an endpoint, or to all, within a window.
type Statistics struct {
	EndpointID  uuid.UUID // uuid.Nil: all
	Window      Window
	From, Until time.Time // which is the window, made longer to whole rows

	Sent               int64
	Retrying           int64            // attempts that failed and are followed by another
	Failed             map[string]int64 // given up, by reason
	Attempts           int64            // requests made
	PossibleDuplicates int64
	ResponseTimes      Latencies // of attempts that were answered

	Backlog Backlog // now
}

// SuccessRate is the share of attempts that were answered with 2xx; false without any.
func (s Statistics) SuccessRate() (float64, bool) {
	if s.Attempts == 0 {
		return 0, false
	}
	return float64(s.Sent) / float64(s.Attempts), true
}

// Reporter answers questions about statistics.
type Reporter struct{ db *sqlx.DB }

// NewReporter makes one.
func NewReporter(db *sqlx.DB) *Reporter { return &Reporter{db} }

// within reads what a window needs of some endpoints: their own rows and no others,
// because OFFSET 0 has each of them looked up by itself.
const within = `
SELECT s.endpoint_id, s.status, s.failure_reason, s.deliveries, s.attempts, s.possible_duplicates, s.response_times
FROM unnest($1::uuid[]) AS e (id)
CROSS JOIN LATERAL (SELECT * FROM sonicus.delivery_stats d WHERE d.endpoint_id = e.id AND d.starts_at >= $2 OFFSET 0) s`

// Total is about all endpoints together. A problem of the database is Unavailable.
func (r *Reporter) Total(ctx context.Context, w Window) (Statistics, error) {
	var total Statistics
	err := r.read(ctx, w, func(tx *sqlx.Tx, about Statistics) error {
		all, err := collect(ctx, tx, about, everyone)
		if err != nil {
			return err
		}
		total = all[0]
		total.Backlog, err = wholeBacklog(ctx, tx)
		return err
	})
	return total, err
}

// Of is about one endpoint. Nothing is known of one that does not exist. Problems are those of Total.
func (r *Reporter) Of(ctx context.Context, w Window, endpoint uuid.UUID) (Statistics, error) {
	var one []Statistics
	err := r.read(ctx, w, func(tx *sqlx.Tx, about Statistics) (err error) {
		one, err = withBacklog(ctx, tx, about, endpoint)
		return err
	})
	if err != nil {
		return Statistics{}, err
	}
	return one[0], nil
}

// List is about up to limit endpoints that are not deleted, the newest first, with ids
// below before; uuid.Nil begins with the newest. Problems are those of Total.
func (r *Reporter) List(ctx context.Context, w Window, limit int, before uuid.UUID) ([]Statistics, error) {
	if before == uuid.Nil {
		before = uuid.Max
	}
	var all []Statistics
	err := r.read(ctx, w, func(tx *sqlx.Tx, about Statistics) error {
		var ids []uuid.UUID
		err := tx.SelectContext(ctx, &ids, `SELECT e.id FROM sonicus.endpoints e WHERE e.id < $1 AND e.deleted_at IS NULL ORDER BY e.id DESC LIMIT $2`, before, limit)
		if err != nil || len(ids) == 0 {
			return err
		}
		all, err = withBacklog(ctx, tx, about, ids...)
		return err
	})
	return all, err
}

// read says what statistics are about, and lets look fill them in, in one transaction.
func (r *Reporter) read(ctx context.Context, w Window, look func(tx *sqlx.Tx, about Statistics) error) error {
	err := postgres.InTx(ctx, r.db, func(tx *sqlx.Tx, now time.Time) error {
		return look(tx, Statistics{Window: w, From: now.Add(-w.Span).Truncate(w.Step), Until: now})
	})
	if err != nil {
		return fmt.Errorf("read statistics: %w", postgres.Explain(err, ""))
	}
	return nil
}

func withBacklog(ctx context.Context, tx *sqlx.Tx, about Statistics, endpoints ...uuid.UUID) ([]Statistics, error) {
	all, err := collect(ctx, tx, about, endpoints...)
	if err != nil {
		return nil, err
	}
	backlogs, err := backlogsOf(ctx, tx, endpoints)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Backlog = backlogs[all[i].EndpointID]
	}
	return all, nil
}

// collect sums the rows of each endpoint up, in the order given.
func collect(ctx context.Context, tx *sqlx.Tx, about Statistics, endpoints ...uuid.UUID) ([]Statistics, error) {
	var rows []struct {
		EndpointID    uuid.UUID     `db:"endpoint_id"`
		Status        Status        `db:"status"`
		FailureReason string        `db:"failure_reason"`
		Deliveries    int64         `db:"deliveries"`
		Attempts      int64         `db:"attempts"`
		Duplicates    int64         `db:"possible_duplicates"`
		ResponseTimes pq.Int64Array `db:"response_times"`
	}
	if err := tx.SelectContext(ctx, &rows, within, pq.Array(endpoints), about.From); err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	all, at := make([]Statistics, len(endpoints)), make(map[uuid.UUID]*Statistics, len(endpoints))
	for i, id := range endpoints {
		all[i] = about
		all[i].EndpointID, all[i].Failed = id, map[string]int64{}
		at[id] = &all[i]
	}
	for _, r := range rows {
		s := at[r.EndpointID]
		switch r.Status {
		case Sent:
			s.Sent += r.Deliveries
		case Retrying:
			s.Retrying += r.Deliveries
		case Failed, Pending:
			s.Failed[r.FailureReason] += r.Deliveries
		}
		s.Attempts += r.Attempts
		s.PossibleDuplicates += r.Duplicates
		s.ResponseTimes.AddAll(Latencies(r.ResponseTimes))
	}
	return all, nil
}
