package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// unreadableWait is how long a delivery waits whose signing secret cannot be
// decrypted: until an operator has given the process the right key. Waiting
// spends no attempt.
const unreadableWait = time.Minute

var (
	errLeaseTooOld     = errors.New("the lease is too old to begin an attempt")
	errUnknownEndpoint = errors.New("the endpoint does not exist")
	errNoDelivery      = errors.New("the queue has work of a delivery that does not exist")
)

// attempt makes one request, first or retry alike, and hands the result over. The
// delivery's slot is given back when the result is recorded; without a result, now.
func (d *Dispatcher) attempt(ctx context.Context, c outbox.Claimed) (took time.Duration, made, success bool) {
	f, made := d.try(ctx, c)
	if made {
		d.settler.add(f)
	}
	return f.result.Took, made, f.result.Status == outbox.Sent
}

// try makes the request; made is false when the lease was given back instead.
func (d *Dispatcher) try(ctx context.Context, c outbox.Claimed) (f finished, made bool) {
	if c.EventID == uuid.Nil { // the books are broken
		d.postpone(c, parkedFor, errNoDelivery)
		return finished{}, false
	}
	to, err := d.endpoints.of(ctx, c)
	if err != nil {
		d.postpone(c, unreadableWait, err)
		return finished{}, false
	}
	if to.keysErr != nil {
		// Sending it unsigned, or failing it, would punish the receiver for a
		// key that is missing on this side.
		d.postpone(c, unreadableWait, fmt.Errorf("secret unreadable: %w", to.keysErr))
		return finished{}, false
	}
	pause(ctx, nil, max(time.Until(c.StartAt), 0))
	started := time.Now()
	if !c.MayStart(started, to.timeout) { // the process was stopped, or starved, since the claim
		d.postpone(c, 0, errLeaseTooOld)
		return finished{}, false
	}
	if c.TookOver {
		d.counters.DuplicateSends.Add(1)
	}
	r := d.sender.Send(ctx, webhook.Request{
		Target: to.target, EventType: c.EventType, EventID: c.EventID, EventTime: event.Timestamp(c.EventTime).String(),
		DeliveryID: c.DeliveryID, Attempt: c.AttemptCount + 1, Body: c.Payload, Timeout: to.timeout,
	})
	if r.Reason != "" && ctx.Err() != nil { // cut off by a stop, which says nothing of the receiver
		c.TookOver = true // it may have been received
		d.giveUpLease(c)
		return finished{}, false
	}
	o := decide(r, c.AttemptCount+1, c.MaxAttempts, d.settings.Retry.with(to.waits).Delay(c.AttemptCount+1))
	d.logAttempt(c, to, r, o)
	return finished{result: result(c, r, o, started), gone: o.gone && !c.Test}, true
}

func result(c outbox.Claimed, r webhook.Result, o outcome, started time.Time) outbox.Result {
	c.Payload = nil // has been sent
	return outbox.Result{
		Claimed: c, StartedAt: started, Took: r.Took,
		Trace: outbox.Trace{
			Clock: r.StartedAt.Unix(), Address: r.Address,
			DNS: r.Timing.DNS, Connect: r.Timing.Connect, TLS: r.Timing.TLS, FirstByte: r.Timing.FirstByte,
		},
		HTTPStatus: r.StatusCode, Reason: string(r.Reason), Error: r.Error,
		ResponseHeaders: headers(r.Headers), ResponseBody: r.Body, ResponseTruncated: r.Truncated,
		Status: o.status, FailureReason: o.failureReason, RetryIn: o.retryIn, RetryAfter: o.asked,
	}
}

func headers(h map[string]string) postgres.JSON {
	if len(h) == 0 {
		return ""
	}
	b, _ := json.Marshal(h) // strings always encode
	return postgres.JSON(b)
}

// postpone gives a lease back without an attempt, due again after wait.
func (d *Dispatcher) postpone(c outbox.Claimed, wait time.Duration, why error) {
	log := d.log.With(slog.String("delivery_id", c.DeliveryID.String()), slog.String("endpoint_id", c.EndpointID.String()))
	log.Error("delivery postponed", slog.Any("error", why))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := outbox.Release(ctx, d.db, []outbox.Claimed{c}, wait); err != nil {
		log.Warn("lease not given back, it ends by itself", slog.Any("error", err))
	}
	d.lanes.note(c.Lane, c.DueAt, time.Now().Add(wait))
}

// logAttempt writes the one line of an attempt.
func (d *Dispatcher) logAttempt(c outbox.Claimed, to *prepared, r webhook.Result, o outcome) {
	level := slog.LevelInfo
	attrs := append(make([]slog.Attr, 0, 17),
		slog.String("outcome", string(o.status)),
		slog.String("delivery_id", c.DeliveryID.String()),
		slog.String("event_id", c.EventID.String()),
		slog.String("event_type", c.EventType),
		slog.String("endpoint_id", to.id),
		slog.String("url", to.url),
		slog.Int("attempt", c.AttemptCount+1),
		slog.Int("max_attempts", c.MaxAttempts),
		slog.Int("http_status", r.StatusCode),
		slog.Float64("took_ms", float64(r.Took.Microseconds())/1000),
	)
	if c.TookOver {
		attrs = append(attrs, slog.Bool("possible_duplicate", true))
	}
	if c.Test {
		attrs = append(attrs, slog.Bool("test", true))
	}
	if o.status != outbox.Sent {
		level = slog.LevelError
		attrs = append(attrs, slog.String("reason", string(r.Reason)), slog.String("error", r.Error))
	}
	switch o.status {
	case outbox.Retrying:
		attrs = append(attrs, slog.Float64("retry_in_s", o.retryIn.Seconds()))
	case outbox.Failed:
		attrs = append(attrs, slog.String("failure_reason", o.failureReason))
	}
	d.log.LogAttrs(context.Background(), level, "delivery attempted", attrs...)
}
