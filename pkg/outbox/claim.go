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

// claim takes due rows from the lanes that it is asked for, and from no others.
// Each lane is read from its lower bound on: without one, every claim would walk
// over the dead index entries of all that was claimed before, which a long
// transaction anywhere in the database keeps from being removed.
//
// Writing the lease changes no indexed column, so it is a HOT update. In an
// ordered stream only the first row may go.
//
// gate is for the few endpoints whose pace or breaker limits them. Their row in
// lanes is locked, because all dispatchers share one limit; whoever does not get
// the lock takes nothing. Of the row's newest version, permit computes how many
// may go: one as the probe of an open breaker, or what the pace has room for up
// to $7 seconds ahead, spaced evenly (GCRA).
const claim = `
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::boolean[], $3::timestamptz[], $4::integer[]) AS a (endpoint_id, retry, since, most)
), lane AS (
    SELECT a.*, e.xmin::text::bigint AS endpoint_version, e.rate_limit, l.breaker_until,
           e.is_active AND e.paused_at IS NULL AND e.deleted_at IS NULL AS active,
           make_interval(secs => e.timeout_seconds + $6) AS lease,
           l.failures > 0 OR l.breaker_state <> 'closed' AS troubled,
           e.rate_limit IS NOT NULL OR l.breaker_state <> 'closed' OR l.recovering_since IS NOT NULL AS gated
    FROM asked a
    JOIN sonicus.endpoints e ON e.id = a.endpoint_id
    JOIN sonicus.lanes l ON l.endpoint_id = a.endpoint_id
), due AS (
    SELECT lane.*, found.*, row_number() OVER (PARTITION BY lane.endpoint_id ORDER BY found.due_at) AS n
    FROM lane
    CROSS JOIN LATERAL (
        SELECT q.ctid AS at, q.due_at, q.lease_token IS NOT NULL AS took_over
        FROM sonicus.queue q
        WHERE q.retry = lane.retry AND q.endpoint_id = lane.endpoint_id
          AND q.due_at >= lane.since AND q.due_at <= statement_timestamp()
          AND (q.lease_until IS NULL OR q.lease_until <= statement_timestamp())
          AND (q.position IS NULL OR q.position = (
                  SELECT min(p.position) FROM sonicus.queue p
                  WHERE p.endpoint_id = q.endpoint_id AND p.organization_id = q.organization_id AND p.position IS NOT NULL))
        ORDER BY q.due_at
        LIMIT lane.most
        FOR NO KEY UPDATE OF q SKIP LOCKED
    ) found
    WHERE lane.active AND (lane.breaker_until IS NULL OR lane.breaker_until <= statement_timestamp())
), gate AS (
    SELECT l.endpoint_id, w.wanted, w.lease, l.breaker_state, l.breaker_until,
           greatest(l.paced_until, statement_timestamp()) AS free_at,
           least(w.rate_limit, ` + recoveryRate + `) AS rate
    FROM (SELECT endpoint_id, min(rate_limit) AS rate_limit, max(lease) AS lease, count(*) AS wanted
          FROM due WHERE gated GROUP BY endpoint_id) w
    JOIN sonicus.lanes l USING (endpoint_id)
    FOR NO KEY UPDATE OF l SKIP LOCKED
), permit AS (
    SELECT g.*, CASE
               WHEN g.breaker_until > statement_timestamp() THEN 0
               WHEN g.breaker_state <> 'closed' THEN 1
               WHEN g.rate IS NULL THEN g.wanted
               ELSE least(g.wanted, greatest(0, 1 + floor(extract(epoch FROM statement_timestamp() + $7 * interval '1 second' - g.free_at) * g.rate)))
           END AS permits
    FROM gate g
), spent AS (
    UPDATE sonicus.lanes l
    SET paced_until = CASE WHEN p.rate IS NOT NULL THEN p.free_at + p.permits / p.rate * interval '1 second' END,
        breaker_state = CASE WHEN p.breaker_state = 'closed' THEN 'closed' ELSE 'half_open' END,
        breaker_until = CASE WHEN p.breaker_state <> 'closed' THEN statement_timestamp() + p.lease END,
        recovering_since = CASE WHEN ` + recoveryRate + ` IS NOT NULL THEN l.recovering_since END
    FROM permit p
    WHERE l.endpoint_id = p.endpoint_id AND p.permits > 0
), leased AS (
    UPDATE sonicus.queue q
    SET lease_until = statement_timestamp() + d.lease, lease_token = $5
    FROM due d
    LEFT JOIN permit p USING (endpoint_id)
    WHERE q.ctid = d.at AND (NOT d.gated OR d.n <= p.permits)
    RETURNING q.delivery_id, q.organization_id, d.endpoint_id, d.retry, d.due_at, d.took_over, d.troubled, d.endpoint_version,
              extract(epoch FROM d.lease) AS lease,
              coalesce(extract(epoch FROM p.free_at - statement_timestamp()) + (d.n - 1) / p.rate, 0) AS start_in
)
SELECT a.endpoint_id, a.retry, l.delivery_id, l.organization_id, l.due_at, l.took_over, l.troubled, l.endpoint_version, l.lease, l.start_in,
       extract(epoch FROM CASE
           WHEN a.breaker_until > statement_timestamp() THEN a.breaker_until - statement_timestamp()
           WHEN a.gated AND p.rate IS NOT NULL THEN p.free_at + p.permits / p.rate * interval '1 second' - statement_timestamp()
           WHEN a.gated AND EXISTS (SELECT FROM due d WHERE d.endpoint_id = a.endpoint_id AND d.retry = a.retry) THEN interval '1 second'
       END) AS again_in
FROM lane a
LEFT JOIN leased l USING (endpoint_id, retry)
LEFT JOIN permit p USING (endpoint_id)
ORDER BY a.endpoint_id, a.retry, l.due_at`

// recoveryRate is the pace of an endpoint whose breaker has closed: it doubles
// every second until nothing is left to limit.
const recoveryRate = `CASE WHEN l.recovering_since > statement_timestamp() - interval '10 seconds'
                THEN 10 * 2 ^ extract(epoch FROM statement_timestamp() - l.recovering_since) END`

// paceAhead is how many seconds before its time a paced delivery may be claimed;
// the dispatcher then waits. It is short, because it waits in a slot.
const paceAhead = 0.1

// lateCommits is how long after its due time was written a delivery may become
// visible without being overlooked: the lower bounds of lanes stay so far behind
// the clock. What comes later still is found by [Arrivals] or the next [Sweep].
const lateCommits = 50 * time.Millisecond

// load reads what an attempt needs. The bounds let the planner leave out the
// partitions of other days; an event has the same time in its id as its deliveries.
const load = `
SELECT d.id AS delivery_id, d.event_id, d.event_type, d.attempt_count, d.max_attempts, v.payload, v.created_at AS event_time
FROM unnest($1::uuid[]) WITH ORDINALITY AS c (id, n)
CROSS JOIN LATERAL (SELECT * FROM sonicus.deliveries d WHERE d.id = c.id AND d.id >= $2 AND d.id < $3 LIMIT 1) d
CROSS JOIN LATERAL (SELECT * FROM sonicus.events v WHERE v.id = d.event_id AND v.id >= $2 AND v.id < $3 LIMIT 1) v
ORDER BY c.n`

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
	claimed := make([]Claimed, 0, len(rows))
	for _, r := range rows {
		if r.DeliveryID.Valid {
			claimed = append(claimed, Claimed{
				Lane: r.Lane, DeliveryID: r.DeliveryID.UUID, OrganizationID: r.OrganizationID, DueAt: r.DueAt.Time,
				EndpointVersion: r.EndpointVersion.Int64, TookOver: r.TookOver.Bool, Troubled: r.Troubled.Bool,
				StartIn: seconds(r.StartIn.Float64), Token: token, ClaimedAt: began, leaseEnd: began.Add(seconds(r.Lease.Float64)),
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

// loadInto completes the claimed deliveries.
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
	if len(loaded) != len(claimed) {
		return fmt.Errorf("load: %d of %d queued deliveries exist", len(loaded), len(claimed))
	}
	for _, l := range loaded {
		c := &claimed[at[l.DeliveryID]]
		c.EventID, c.EventType, c.EventTime, c.Payload = l.EventID, l.EventType, l.EventTime, l.Payload
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

// day is the number of the day of an id, which begins with milliseconds since 1970
// (uuidv7).
func day(id uuid.UUID) uint64 { return binary.BigEndian.Uint64(id[:8]) >> 16 / msPerDay }

// dayFloor is the smallest id of a day.
func dayFloor(day uint64) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:8], day*msPerDay<<16)
	return id
}
