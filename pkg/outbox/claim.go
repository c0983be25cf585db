package outbox

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// The statements of every batch are functions in the database, where their plans
// are kept (db/migrations/00007_statements.sql); what they do is told there.
const (
	claim  = `SELECT * FROM sonicus.claim($1, $2, $3, $4, $5, $6, $7)`
	load   = `SELECT * FROM sonicus.loaded($1, $2, $3)`
	settle = `SELECT * FROM sonicus.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)`
)

// paceAhead is how many seconds before its time a paced delivery may be claimed;
// the dispatcher then waits. It is short, because it waits in a slot.
const paceAhead = 0.1

// lateCommits is how long after its due time was written a delivery may become
// visible without being overlooked: the lower bounds of lanes stay so far behind
// the clock. What comes later still is found by [Arrivals] or the next [Sweep].
const lateCommits = 50 * time.Millisecond

// Ask is what a claim may take from a lane.
type Ask struct {
	Lane
	Since time.Time // nothing that is due earlier is looked at; zero: everything
	Most  int       // deliveries
}

// Visit is what a claim met in a lane.
type Visit struct {
	Lane
	Taken   int           // deliveries claimed
	Since   time.Time     // what to ask with the next time; zero when nothing was taken
	AgainIn time.Duration // > 0: pace or breaker hold the lane back until then
}

// claimRow is a row of claim; without a delivery it stands for the lane alone.
type claimRow struct {
	Lane
	DeliveryID      uuid.NullUUID   `db:"delivery_id"`
	OrganizationID  uuid.NullUUID   `db:"organization_id"`
	DueAt           sql.NullTime    `db:"due_at"`
	TookOver        sql.NullBool    `db:"took_over"`
	Troubled        sql.NullBool    `db:"troubled"`
	EndpointVersion sql.NullInt64   `db:"endpoint_version"`
	Lease           sql.NullFloat64 `db:"lease"`
	StartIn         sql.NullFloat64 `db:"start_in"`
	AgainIn         sql.NullFloat64 `db:"again_in"`
}

// Claim takes due deliveries from the lanes asked for, under leases, in one short
// transaction. Lanes of endpoints that are inactive, paused or deleted give
// nothing. It returns a Visit for every Ask whose endpoint exists.
func Claim(ctx context.Context, db *sqlx.DB, asks []Ask) ([]Claimed, []Visit, error) {
	var rows []claimRow
	var claimed []Claimed
	token := rand.Int64() //nolint:gosec // a fence must be distinct, not secret
	began := time.Now()
	var now time.Time
	err := postgres.InTx(ctx, db, func(tx *sqlx.Tx, at time.Time) error {
		now = at
		endpoints, retries, since, most := askColumns(asks)
		if err := tx.SelectContext(ctx, &rows, claim, endpoints, retries, since, most, token, LeaseMargin.Seconds(), paceAhead); err != nil {
			return err
		}
		claimed = leases(rows, token, began)
		return loadInto(ctx, tx, claimed)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("claim: %w", err)
	}
	return claimed, visits(rows, now.Add(-lateCommits)), nil
}

func askColumns(asks []Ask) (endpoints pq.StringArray, retries pq.BoolArray, since pq.StringArray, most pq.Int64Array) {
	for _, a := range asks {
		from := "-infinity"
		if !a.Since.IsZero() {
			from = a.Since.Format(time.RFC3339Nano)
		}
		endpoints, retries = append(endpoints, a.EndpointID.String()), append(retries, a.Retry)
		since, most = append(since, from), append(most, int64(a.Most))
	}
	return endpoints, retries, since, most
}

func leases(rows []claimRow, token int64, began time.Time) []Claimed {
	answered := time.Now()
	claimed := make([]Claimed, 0, len(rows))
	for _, r := range rows {
		if r.DeliveryID.Valid {
			claimed = append(claimed, Claimed{
				Lane: r.Lane, DeliveryID: r.DeliveryID.UUID, OrganizationID: r.OrganizationID, DueAt: r.DueAt.Time,
				EndpointVersion: r.EndpointVersion.Int64, TookOver: r.TookOver.Bool, Troubled: r.Troubled.Bool,
				Token: token, ClaimedAt: began, StartAt: answered.Add(seconds(r.StartIn.Float64)), leaseEnd: began.Add(seconds(r.Lease.Float64)),
			})
		}
	}
	return claimed
}

// visits sums the rows up. What was due before a claimed delivery has been claimed,
// too, unless it was committed after that: none later than committed.
func visits(rows []claimRow, committed time.Time) []Visit {
	var all []Visit
	at := make(map[Lane]int, len(rows))
	for _, r := range rows {
		i, seen := at[r.Lane]
		if !seen {
			i = len(all)
			at[r.Lane] = i
			all = append(all, Visit{Lane: r.Lane, AgainIn: seconds(r.AgainIn.Float64)})
		}
		if r.DeliveryID.Valid {
			all[i].Taken++
			if r.DueAt.Time.After(all[i].Since) {
				all[i].Since = r.DueAt.Time
			}
		}
	}
	for i := range all {
		if all[i].Since.After(committed) {
			all[i].Since = committed
		}
	}
	return all
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// loadInto completes the claimed deliveries. Of one that does not exist, which only
// broken books can bring about, nothing more is known than what the queue holds.
func loadInto(ctx context.Context, tx *sqlx.Tx, claimed []Claimed) error {
	if len(claimed) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(claimed))
	at := make(map[uuid.UUID]int, len(claimed))
	for i, c := range claimed {
		ids[i], at[c.DeliveryID] = c.DeliveryID, i
	}
	low, high := span(ids)
	var loaded []Claimed
	if err := tx.SelectContext(ctx, &loaded, load, pq.Array(ids), low, high); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	for _, l := range loaded {
		c := &claimed[at[l.DeliveryID]]
		c.EventID, c.EventType, c.EventTime, c.Payload, c.Test = l.EventID, l.EventType, l.EventTime, l.Payload, l.Test
		c.AttemptCount, c.MaxAttempts = l.AttemptCount, l.MaxAttempts
	}
	return nil
}

// span bounds ids, at least one, by the days (UTC) in them, which are those of the
// partitions: an event, its deliveries and their attempts lie between the same two
// bounds. Narrower ones would tempt the planner to read all that lies between them
// for every row.
func span(ids []uuid.UUID) (low, high uuid.UUID) {
	first, last := day(ids[0]), day(ids[0])
	for _, id := range ids {
		first, last = min(first, day(id)), max(last, day(id))
	}
	return dayFloor(first), dayFloor(last + 1)
}

const msPerDay = 24 * 60 * 60 * 1000

// ms is the time that an id (uuidv7) begins with, in milliseconds since 1970.
func ms(id uuid.UUID) int64 { return int64(binary.BigEndian.Uint64(id[:8]) >> 16) }

// msFloor is the smallest id of a millisecond, as sonicus.id_floor; of times that no
// id holds, the nearest.
func msFloor(at int64) (id uuid.UUID) {
	if at >= 1<<48 {
		return uuid.Max
	}
	binary.BigEndian.PutUint64(id[:8], uint64(max(at, 0))<<16)
	return id
}

// day is the number of the day of an id.
func day(id uuid.UUID) int64 { return ms(id) / msPerDay }

// dayFloor is the smallest id of a day.
func dayFloor(day int64) uuid.UUID { return msFloor(day * msPerDay) }
