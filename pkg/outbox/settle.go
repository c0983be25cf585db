package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// settle applies a group of results. Rows are locked in the order of their ids,
// so that two dispatchers cannot deadlock, and only where the lease is still the
// one that the attempt was made under.
//
// The bounds $17 and $18 let the planner leave out the partitions of other days; a
// list of ids would do so too, and be searched for every row.
//
// A result that was settled before, when the answer to COMMIT was lost, is
// recognized by its row in attempts and changes nothing. Any other result
// without its lease is late: it is recorded beside and never applied.
const settle = `
WITH result AS (
    SELECT r.*, clock_timestamp() - r.age_ms * interval '1 millisecond' AS started_at
    FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::bigint[], $7::double precision[],
                $8::real[], $9::integer[], $10::text[], $11::text[], $12::json[], $13::text[], $14::boolean[], $15::boolean[])
         AS r(delivery_id, token, number, status, failure_reason, retry_ms, age_ms,
              duration_ms, http_status, reason, error, headers, body, truncated, took_over)
), held AS (
    SELECT q.delivery_id, q.lease_token AS token
    FROM sonicus.queue q
    JOIN result r ON r.delivery_id = q.delivery_id AND r.token = q.lease_token
    ORDER BY q.delivery_id
    FOR UPDATE OF q
), mine AS (
    SELECT r.* FROM result r JOIN held USING (delivery_id, token)
), again AS (
    UPDATE sonicus.queue q
    SET due_at = clock_timestamp() + m.retry_ms * interval '1 millisecond', retry = true, lease_token = NULL, lease_until = NULL
    FROM mine m
    WHERE q.delivery_id = m.delivery_id AND m.status = 'retrying'
), over AS (
    DELETE FROM sonicus.queue q
    USING mine m
    WHERE q.delivery_id = m.delivery_id AND m.status <> 'retrying'
), told AS (
    UPDATE sonicus.deliveries d
    SET status = m.status, failure_reason = nullif(m.failure_reason, ''), attempt_count = m.number,
        http_status_code = nullif(m.http_status, 0), error_message = nullif(m.error, ''), last_attempt_at = m.started_at,
        delivered_at = CASE WHEN m.status = 'sent' THEN m.started_at + m.duration_ms * interval '1 millisecond' END
    FROM mine m
    WHERE d.id = m.delivery_id AND d.id >= $17 AND d.id < $18
), logged AS (
    INSERT INTO sonicus.attempts (delivery_id, number, lease_token, started_at, duration_ms, http_status_code, reason,
                                  error_message, response_headers, response_body, response_truncated, dispatcher, took_over)
    SELECT m.delivery_id, m.number, m.token, m.started_at, m.duration_ms, nullif(m.http_status, 0), nullif(m.reason, ''),
           nullif(m.error, ''), m.headers, nullif(m.body, ''), m.truncated, $16, m.took_over
    FROM mine m
)
INSERT INTO sonicus.late_results (delivery_id, lease_token, number, started_at, duration_ms, http_status_code, reason, dispatcher)
SELECT r.delivery_id, r.token, r.number, r.started_at, r.duration_ms, nullif(r.http_status, 0), nullif(r.reason, ''), $16
FROM result r
WHERE (r.delivery_id, r.token) NOT IN (SELECT delivery_id, token FROM held)
  AND NOT EXISTS (SELECT FROM sonicus.attempts a
                  WHERE a.delivery_id = r.delivery_id AND a.number = r.number AND a.lease_token = r.token
                    AND a.delivery_id >= $17 AND a.delivery_id < $18)
ON CONFLICT (delivery_id, lease_token) DO NOTHING
RETURNING delivery_id`

// Settle records results in the caller's transaction: the attempts, the new
// state of the deliveries, and the queue. It returns the deliveries whose result
// came late, after the lease had been taken over; nothing else of them changes.
// Settling the same results again changes nothing. [Promote] belongs into the same
// transaction.
//
// dispatcher names the process in the log of attempts.
func Settle(ctx context.Context, tx *sqlx.Tx, dispatcher string, results []Result) ([]uuid.UUID, error) {
	var c columns
	for _, r := range results {
		c.add(r)
	}
	if organizations := ofStreams(results); len(organizations) > 0 {
		if err := takeTurns(ctx, tx, organizations...); err != nil {
			return nil, fmt.Errorf("settle: %w", err)
		}
	}
	var late []uuid.UUID
	err := tx.SelectContext(ctx, &late, settle, c.arguments(dispatcher)...)
	if err != nil {
		return nil, fmt.Errorf("settle: %w", err)
	}
	return late, nil
}

// columns turns results into one array per column.
type columns struct {
	ids                   []uuid.UUID
	numbers, httpStatuses []int
	tokens, retries       pq.Int64Array
	ages, durations       pq.Float64Array

	statuses, failures, reasons, errors, bodies pq.StringArray
	headers                                     []*string
	truncated, tookOver                         pq.BoolArray
}

func (c *columns) add(r Result) {
	c.ids = append(c.ids, r.DeliveryID)
	c.tokens = append(c.tokens, r.Token)
	c.numbers = append(c.numbers, r.AttemptCount+1)
	c.statuses = append(c.statuses, string(r.Status))
	c.failures = append(c.failures, r.FailureReason)
	c.retries = append(c.retries, r.RetryIn.Milliseconds())
	c.ages = append(c.ages, milliseconds(time.Since(r.StartedAt)))
	c.durations = append(c.durations, milliseconds(r.Took))
	c.httpStatuses = append(c.httpStatuses, r.HTTPStatus)
	c.reasons = append(c.reasons, r.Reason)
	c.errors = append(c.errors, r.Error)
	c.bodies = append(c.bodies, r.ResponseBody)
	c.truncated = append(c.truncated, r.ResponseTruncated)
	c.tookOver = append(c.tookOver, r.TookOver)
	var headers *string
	if r.ResponseHeaders != "" {
		headers = (*string)(&r.ResponseHeaders)
	}
	c.headers = append(c.headers, headers)
}

// arguments are those of settle, in order.
func (c *columns) arguments(dispatcher string) []any {
	low, high := span(c.ids)
	return []any{
		pq.Array(c.ids), c.tokens, pq.Array(c.numbers), c.statuses, c.failures, c.retries, c.ages, c.durations, pq.Array(c.httpStatuses),
		c.reasons, c.errors, pq.Array(c.headers), c.bodies, c.truncated, c.tookOver, dispatcher, low, high,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
