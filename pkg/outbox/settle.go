package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Settle records results in the caller's transaction: the attempts, the new
// state of the deliveries, and the queue. It returns the deliveries whose result
// came late, after the lease had been taken over; nothing else of them changes.
// Settling the same results again changes nothing. [Promote] belongs into the same
// transaction. Results that are Retrying become Failed in place when their endpoint
// has been deleted ([EndpointDeleted]).
//
// dispatcher names the process in the log of attempts.
func Settle(ctx context.Context, tx *sqlx.Tx, dispatcher string, results []Result) ([]uuid.UUID, error) {
	if err := abandonRetries(ctx, tx, results); err != nil {
		return nil, fmt.Errorf("settle: %w", err)
	}
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

	clocks, asked                pq.Int64Array
	addresses                    pq.StringArray
	dns, connect, tls, firstByte pq.Float64Array
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
	c.addTrace(r.Trace)
	c.asked = append(c.asked, r.RetryAfter.Milliseconds())
	var headers *string
	if r.ResponseHeaders != "" {
		headers = (*string)(&r.ResponseHeaders)
	}
	c.headers = append(c.headers, headers)
}

func (c *columns) addTrace(t Trace) {
	c.clocks = append(c.clocks, t.Clock)
	address := ""
	if t.Address.IsValid() {
		address = t.Address.String()
	}
	c.addresses = append(c.addresses, address)
	c.dns = append(c.dns, milliseconds(t.DNS))
	c.connect = append(c.connect, milliseconds(t.Connect))
	c.tls = append(c.tls, milliseconds(t.TLS))
	c.firstByte = append(c.firstByte, milliseconds(t.FirstByte))
}

// arguments are those of settle, in order.
func (c *columns) arguments(dispatcher string) []any {
	low, high := span(c.ids)
	return []any{
		pq.Array(c.ids), c.tokens, pq.Array(c.numbers), c.statuses, c.failures, c.retries, c.ages, c.durations, pq.Array(c.httpStatuses),
		c.reasons, c.errors, pq.Array(c.headers), c.bodies, c.truncated, c.tookOver,
		c.clocks, c.addresses, c.dns, c.connect, c.tls, c.firstByte, c.asked, dispatcher, low, high,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
