package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/postgres"
)

const (
	loaders    = 2      // connections that load at the same time
	loadEvents = 10_000 // events in one transaction
	timeLayout = "2006-01-02 15:04:05.999999Z07:00"
)

// load is a number of events and their deliveries, to be copied into the tables
// as Publish would have written them.
type load struct {
	events    int
	endpoints []uuid.UUID
	fanout    int           // deliveries of each event, to that many of the endpoints; the events go round
	settled   bool          // sent in one attempt; otherwise pending and in the queue
	from, to  time.Time     // when the events happened, evenly spread
	lead      time.Duration // how much later the deliveries are due
	done      *atomic.Int64 // deliveries so far, for progress; may be nil
}

// pending is a backlog of n deliveries, one per event, that are all due; their
// due times differ by a microsecond, as those of single commits do.
func (w *world) pending(ctx context.Context, n int, endpoints []uuid.UUID) error {
	now, err := w.now(ctx)
	if err != nil {
		return err
	}
	return w.copyIn(ctx, load{
		events: n, endpoints: endpoints, fanout: 1, from: now.Add(-time.Duration(n) * time.Microsecond), to: now,
	})
}

// now is the server's time.
func (w *world) now(ctx context.Context) (at time.Time, err error) {
	err = w.db.GetContext(ctx, &at, `SELECT clock_timestamp()`)
	return at, err
}

// copyIn loads with COPY, in transactions of a bounded size.
func (w *world) copyIn(ctx context.Context, o load) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	chunks := make(chan int)
	var running sync.WaitGroup
	for range loaders {
		running.Go(func() {
			for first := range chunks {
				if err := w.copyChunk(ctx, o, first, min(first+loadEvents, o.events)); err != nil {
					cancel(err)
				}
			}
		})
	}
	for first := 0; first < o.events && ctx.Err() == nil; first += loadEvents {
		select {
		case chunks <- first:
		case <-ctx.Done():
		}
	}
	close(chunks)
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return nil
}

func (w *world) copyChunk(ctx context.Context, o load, first, end int) error {
	tx, err := w.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after COMMIT it does nothing
	c := newChunk(o, first, end)
	if err := copyRows(ctx, tx, "events (id, event_type, organization_id, payload, fanout, created_at)", c.events); err != nil {
		return err
	}
	if o.settled {
		err = copyRows(ctx, tx, `deliveries (id, event_id, endpoint_id, event_type, max_attempts, created_at, status,
			attempt_count, http_status_code, last_attempt_at, delivered_at)`, c.deliveries)
	} else {
		err = copyRows(ctx, tx, "deliveries (id, event_id, endpoint_id, event_type, max_attempts, created_at)", c.deliveries)
	}
	if err != nil {
		return err
	}
	if o.settled {
		err = copyRows(ctx, tx, `attempts (delivery_id, number, lease_token, started_at, duration_ms, http_status_code,
			response_headers, response_body, dispatcher)`, c.attempts)
	} else {
		err = copyRows(ctx, tx, "queue (delivery_id, endpoint_id, due_at)", c.queue)
	}
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if o.done != nil {
		o.done.Add(int64(len(c.deliveries)))
	}
	w.loaded.Add(int64(len(c.queue)))
	return nil
}

// copyRows streams rows into a table of schema sonicus.
func copyRows(ctx context.Context, tx *postgres.Tx, into string, rows [][]any) error {
	stmt, err := tx.PrepareContext(ctx, "COPY sonicus."+into+" FROM STDIN")
	if err != nil {
		return err
	}
	for _, row := range rows {
		if _, err := stmt.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	if _, err := stmt.ExecContext(ctx); err != nil { // sends the rest, and asks what became of it
		return err
	}
	return stmt.Close()
}

// chunk is the rows of one transaction.
type chunk struct{ events, deliveries, attempts, queue [][]any }

func newChunk(o load, first, end int) chunk {
	const eventType, maxAttempts = "organization.created", "10"
	var c chunk
	organization := uuid.NewString()
	step := float64(o.to.Sub(o.from)) / float64(max(o.events, 1))
	for i := first; i < end; i++ {
		at := o.from.Add(time.Duration(step * float64(i)))
		id, time := postgres.NewID(at).String(), at.UTC().Format(timeLayout)
		c.events = append(c.events, []any{id, eventType, organization, payload(id), strconv.Itoa(o.fanout), time})
		for j := range o.fanout {
			endpoint := o.endpoints[(i*o.fanout+j)%len(o.endpoints)].String()
			delivery := deliveryID(id, endpoint)
			if o.settled {
				c.deliveries = append(c.deliveries, []any{delivery, id, endpoint, eventType, maxAttempts, time, "sent", "1", "200", time, time})
				c.attempts = append(c.attempts, []any{
					delivery, "1", "1", time, "1.5", "200", `{"Content-Type":"text/plain; charset=utf-8"}`, "ok\n", "bench/1",
				})
				continue
			}
			c.deliveries = append(c.deliveries, []any{delivery, id, endpoint, eventType, maxAttempts, time})
			c.queue = append(c.queue, []any{delivery, endpoint, at.Add(o.lead).UTC().Format(timeLayout)})
		}
	}
	return c
}

// deliveryID is sonicus.delivery_id(event, endpoint, 1): the time of the event
// and a digest of all three.
func deliveryID(event, endpoint string) string {
	digest := md5.Sum([]byte(event + endpoint + "1"))
	h := hex.EncodeToString(digest[:])
	variant := "89ab"[(h[3]-'0')%4] // of '0' to '9'; letters follow
	if h[3] >= 'a' {
		variant = "89ab"[(h[3]-'a'+10)%4]
	}
	return event[:8] + "-" + event[9:13] + "-7" + h[:3] + "-" + string(variant) + h[4:7] + "-" + h[7:19]
}
