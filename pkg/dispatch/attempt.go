package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// unreadableWait is how long a delivery waits whose signing secret cannot be
// decrypted: until an operator has given the process the right key. Waiting
// spends no attempt.
const unreadableWait = time.Minute

var errLeaseTooOld = errors.New("the lease is too old to begin an attempt")

// attempt makes one request, first or retry alike, and hands the result over. The
// delivery's slot is given back when the result is recorded; without a result, now.
func (d *Dispatcher) attempt(ctx context.Context, c outbox.Claimed) {
	f, made := d.try(ctx, c)
	d.flights.land(c)
	if !made {
		d.flights.end(1)
		return
	}
	d.settler.add(f)
}

// try makes the request; made is false when the lease was given back instead.
func (d *Dispatcher) try(ctx context.Context, c outbox.Claimed) (f finished, made bool) {
	if !c.MayStart(time.Now()) { // the process was stopped, or starved, since the claim
		d.postpone(c, 0, errLeaseTooOld)
		return finished{}, false
	}
	keys, err := endpoint.Keys(d.box, c.EndpointID, c.Secret, c.PreviousSecret)
	if err != nil {
		// Sending it unsigned, or failing it, would punish the receiver for a
		// key that is missing on this side.
		d.postpone(c, unreadableWait, fmt.Errorf("signing secret unreadable: %w", err))
		return finished{}, false
	}
	started := time.Now()
	r := d.sender.Send(ctx, webhook.Request{
		Target: d.sender.Target(c.URL, keys), EventType: c.EventType, EventID: c.EventID, EventTime: event.Timestamp(c.EventTime).String(),
		DeliveryID: c.DeliveryID, Attempt: c.AttemptCount + 1, Body: []byte(c.Payload), Timeout: c.Timeout(),
	})
	if r.Reason != "" && ctx.Err() != nil { // cut off by a stop, which says nothing of the receiver
		d.giveUpLease(c)
		return finished{}, false
	}
	o := decide(r, c.AttemptCount+1, c.MaxAttempts, d.settings.Retry.Delay(c.AttemptCount+1))
	d.logAttempt(c, r, o)
	return finished{result: result(c, r, o, started), gone: o.gone}, true
}

func result(c outbox.Claimed, r webhook.Result, o outcome, started time.Time) outbox.Result {
	return outbox.Result{
		Claimed: c, StartedAt: started, Took: r.Took,
		HTTPStatus: r.StatusCode, Reason: string(r.Reason), Error: r.Error,
		ResponseHeaders: headers(r.Headers), ResponseBody: r.Body, ResponseTruncated: r.Truncated,
		Status: o.status, FailureReason: o.failureReason, RetryIn: o.retryIn,
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
}

// logAttempt writes the one line of an attempt.
func (d *Dispatcher) logAttempt(c outbox.Claimed, r webhook.Result, o outcome) {
	level, attrs := slog.LevelInfo, []slog.Attr{
		slog.String("outcome", string(o.status)),
		slog.String("delivery_id", c.DeliveryID.String()),
		slog.String("event_id", c.EventID.String()),
		slog.String("event_type", c.EventType),
		slog.String("endpoint_id", c.EndpointID.String()),
		slog.String("url", withoutQuery(c.URL)),
		slog.Int("attempt", c.AttemptCount+1),
		slog.Int("max_attempts", c.MaxAttempts),
		slog.Int("http_status", r.StatusCode),
		slog.Float64("took_ms", float64(r.Took.Microseconds())/1000),
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

// withoutQuery keeps tokens that people put into query strings out of the log.
func withoutQuery(url string) string {
	base, _, found := strings.Cut(url, "?")
	if found {
		return base + "?…"
	}
	return base
}
