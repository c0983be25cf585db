package outbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
)

const (
	// span of a row of delivery_stats while it is counted.
	tallySpan = 5 * time.Minute
	// tallyAtOnce bounds what one transaction writes: some tens of milliseconds.
	tallyAtOnce = 500
)

// everyone stands for all endpoints together: a total needs only its own rows.
var everyone = uuid.Nil

// Tally sums up what became of deliveries, until it is written. It is not safe for
// use by several goroutines. Statistics of an hour do not cost a row for each
// delivery, and the row of all endpoints is not locked while deliveries are settled:
// that is why they are collected in memory, where a crash loses those not written.
type Tally map[tallyKey]*tallied

// tallyKey is that of a row of delivery_stats.
type tallyKey struct {
	endpoint uuid.UUID
	start    time.Time
	status   Status
	reason   string
}

type tallied struct {
	deliveries, attempts, duplicates int
	latencies                        Latencies
}

// Add counts what an attempt has made of its delivery, unless that is a test. now is
// when it was settled, by the database's clock.
func (t Tally) Add(now time.Time, r Result) {
	if r.Test {
		return
	}
	for _, id := range [...]uuid.UUID{r.EndpointID, everyone} {
		sum := t.at(keyOf(id, now, r.Status, r.FailureReason))
		sum.deliveries++
		sum.attempts++
		if r.TookOver {
			sum.duplicates++
		}
		if r.HTTPStatus != 0 {
			sum.latencies.Add(r.Took)
		}
	}
}

// ended counts deliveries that are given up without another attempt.
func (t Tally) ended(now time.Time, endpoint uuid.UUID, reason string, n int) {
	for _, id := range [...]uuid.UUID{endpoint, everyone} {
		t.at(keyOf(id, now, Failed, reason)).deliveries += n
	}
}

func keyOf(endpoint uuid.UUID, now time.Time, status Status, reason string) tallyKey {
	return tallyKey{endpoint, now.UTC().Truncate(tallySpan), status, reason}
}

func (t Tally) at(key tallyKey) *tallied {
	sum := t[key]
	if sum == nil {
		sum = new(tallied)
		t[key] = sum
	}
	return sum
}

// AddAll counts all that other has counted.
func (t Tally) AddAll(other Tally) {
	for key, more := range other {
		sum := t.at(key)
		sum.deliveries += more.deliveries
		sum.attempts += more.attempts
		sum.duplicates += more.duplicates
		sum.latencies.AddAll(more.latencies)
	}
}

// Forget drops what is known of single endpoints and keeps the totals.
func (t Tally) Forget() {
	for key := range t {
		if key.endpoint != everyone {
			delete(t, key)
		}
	}
}

// Write adds what was counted to the statistics, in short transactions, and takes out
// what is written. After an error the rest is still there. What a commit of unknown
// outcome may have written is taken out too: it is rather missing than counted twice.
func (t Tally) Write(ctx context.Context, db *sqlx.DB) error {
	for keys := range slices.Chunk(t.keys(), tallyAtOnce) {
		err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error { return t.write(ctx, tx, keys) })
		if err == nil || errors.Is(err, postgres.ErrCommitUnknown) {
			for _, key := range keys {
				delete(t, key)
			}
		}
		if err != nil {
			return fmt.Errorf("write statistics: %w", err)
		}
	}
	return nil
}

// keys are in the order in which everyone locks the rows, so that nobody can deadlock.
func (t Tally) keys() []tallyKey {
	keys := make([]tallyKey, 0, len(t))
	for key := range t {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b tallyKey) int {
		return cmp.Or(bytes.Compare(a.endpoint[:], b.endpoint[:]), a.start.Compare(b.start), cmp.Compare(a.status, b.status), cmp.Compare(a.reason, b.reason))
	})
	return keys
}

const count = `
INSERT INTO sonicus.delivery_stats AS s (endpoint_id, starts_at, minutes, status, failure_reason, deliveries, attempts, possible_duplicates, response_times)
SELECT r.endpoint_id, r.starts_at, 5, r.status, r.failure_reason, r.deliveries, r.attempts, r.possible_duplicates, r.response_times::integer[]
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::integer[], $6::integer[], $7::integer[], $8::text[]) WITH ORDINALITY
     AS r (endpoint_id, starts_at, status, failure_reason, deliveries, attempts, possible_duplicates, response_times, n)
ORDER BY r.n
` + onConflictAdd

// onConflictAdd adds to the row that is there already.
const onConflictAdd = `
ON CONFLICT ON CONSTRAINT delivery_stats_pkey DO UPDATE
SET deliveries = s.deliveries + excluded.deliveries, attempts = s.attempts + excluded.attempts,
    possible_duplicates = s.possible_duplicates + excluded.possible_duplicates,
    response_times = sonicus.add_counts(s.response_times, excluded.response_times)`

func (t Tally) write(ctx context.Context, tx *sqlx.Tx, keys []tallyKey) error {
	var ids, starts, statuses, reasons, times pq.StringArray
	var deliveries, attempts, duplicates pq.Int64Array
	for _, key := range keys {
		sum := t[key]
		ids, starts = append(ids, key.endpoint.String()), append(starts, key.start.Format(time.RFC3339))
		statuses, reasons = append(statuses, string(key.status)), append(reasons, key.reason)
		deliveries, attempts = append(deliveries, int64(sum.deliveries)), append(attempts, int64(sum.attempts))
		duplicates, times = append(duplicates, int64(sum.duplicates)), append(times, sum.latencies.array())
	}
	if _, err := tx.ExecContext(ctx, count, ids, starts, statuses, reasons, deliveries, attempts, duplicates, times); err != nil {
		return fmt.Errorf("count: %w", err)
	}
	return nil
}

// array is how Postgres reads an array. One of several lengths cannot be in an array
// of arrays.
func (l Latencies) array() string {
	numbers := make([]string, len(l))
	for slot, n := range l {
		numbers[slot] = strconv.FormatInt(n, 10)
	}
	return "{" + strings.Join(numbers, ",") + "}"
}
