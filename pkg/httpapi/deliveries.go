package httpapi

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// deliveryAnswer is a delivery in a list: what is large of it is shown one by one.
type deliveryAnswer struct {
	ID             uuid.UUID        `json:"id"`
	EndpointID     uuid.UUID        `json:"endpoint_id"`
	EventType      string           `json:"event_type"`
	EventID        uuid.UUID        `json:"event_id"`
	OrganizationID *uuid.UUID       `json:"organization_id"`
	Status         outbox.Status    `json:"status"`
	FailureReason  *string          `json:"failure_reason"`
	HTTPStatusCode *int             `json:"http_status_code"`
	ErrorMessage   *string          `json:"error_message"`
	AttemptCount   int              `json:"attempt_count"`
	MaxAttempts    int              `json:"max_attempts"`
	Generation     int              `json:"generation"`
	Test           bool             `json:"test"`
	ReplayID       *uuid.UUID       `json:"replay_id"`
	CreatedAt      event.Timestamp  `json:"created_at"`
	LastAttemptAt  *event.Timestamp `json:"last_attempt_at"`
	DeliveredAt    *event.Timestamp `json:"delivered_at"`
	NextAttemptAt  *event.Timestamp `json:"next_attempt_at"`
}

// shownDelivery is all of one delivery.
type shownDelivery struct {
	deliveryAnswer
	Payload         json.RawMessage `json:"payload"`
	ResponseBody    *string         `json:"response_body"`
	ResponseHeaders json.RawMessage `json:"response_headers"`
	NextAttempt     *nextAnswer     `json:"next_attempt"`
	Attempts        []attemptAnswer `json:"attempts"`
}

// nextAnswer says how the time of the next attempt came about.
type nextAnswer struct {
	At      *event.Timestamp `json:"at"`
	Because string           `json:"because"`
	Detail  string           `json:"detail"`
}

// attemptAnswer is one request that was made.
type attemptAnswer struct {
	Number            int               `json:"number"`
	StartedAt         event.Timestamp   `json:"started_at"`
	DurationMS        float64           `json:"duration_ms"`
	HTTPStatusCode    *int              `json:"http_status_code"`
	Reason            *string           `json:"reason"`
	ErrorMessage      *string           `json:"error_message"`
	RequestHeaders    map[string]string `json:"request_headers"` // secrets are masked
	ResponseHeaders   json.RawMessage   `json:"response_headers"`
	ResponseBody      *string           `json:"response_body"`
	ResponseTruncated bool              `json:"response_truncated"`
	TookOver          bool              `json:"took_over"`
	Dispatcher        string            `json:"dispatcher"`
	RemoteAddress     *string           `json:"remote_address"`
	Timings           timingsAnswer     `json:"timings"`
	Outcome           outbox.Status     `json:"outcome"`
	RetryInSeconds    *float64          `json:"retry_in_seconds"`
	RetryAfterSeconds *float64          `json:"retry_after_seconds"`
}

// timingsAnswer is how long the steps of an attempt took; null: did not happen.
type timingsAnswer struct {
	DNS       *float64 `json:"dns_ms"`
	Connect   *float64 `json:"connect_ms"`
	TLS       *float64 `json:"tls_ms"`
	FirstByte *float64 `json:"first_byte_ms"`
}

// attemptsAnswer is the body of a list that has only one page.
type attemptsAnswer struct {
	Data []attemptAnswer `json:"data"`
}

func deliveryFilter(p *params) outbox.Filter {
	return outbox.Filter{
		EndpointID: p.id("endpoint_id"), EventID: p.id("event_id"), OrganizationID: p.id("organization_id"),
		EventType: p.eventType("event_type"), Statuses: severalOf(p, "status", outbox.Statuses()), FailureReason: p.text("failure_reason"),
		HTTPStatus: p.number("http_status_code", 100, 999), Test: p.flag("test"), Since: p.instant("since"), Until: p.instant("until"),
	}
}

func showShown(d outbox.Shown) shownDelivery {
	a := shownDelivery{
		deliveryAnswer: showDelivery(d.Delivery), Payload: d.Payload,
		ResponseBody: d.ResponseBody, ResponseHeaders: d.ResponseHeaders, Attempts: showAttempts(d.Log).Data,
	}
	if n := d.Next; n != nil {
		a.NextAttempt = &nextAnswer{(*event.Timestamp)(n.At), n.Because, n.Detail}
	}
	return a
}

func showAttempts(log outbox.Log) attemptsAnswer {
	all := attemptsAnswer{[]attemptAnswer{}}
	for _, a := range log.Attempts {
		all.Data = append(all.Data, attemptAnswer{
			Number: a.Number, StartedAt: event.Timestamp(a.StartedAt), DurationMS: a.DurationMS, HTTPStatusCode: a.HTTPStatus,
			Reason: a.Reason, ErrorMessage: a.Error, RequestHeaders: requestHeaders(log, a),
			ResponseHeaders: a.ResponseHeaders, ResponseBody: a.ResponseBody, ResponseTruncated: a.ResponseTruncated,
			TookOver: a.TookOver, Dispatcher: a.Dispatcher, RemoteAddress: a.Address,
			Timings: timingsAnswer{a.DNSMS, a.ConnectMS, a.TLSMS, a.FirstByteMS},
			Outcome: a.Outcome, RetryInSeconds: a.RetryIn, RetryAfterSeconds: a.RetryAfter,
		})
	}
	return all
}

// requestHeaders makes the headers of an attempt anew: they follow from what is known
// of it, and are not stored.
func requestHeaders(log outbox.Log, a outbox.Logged) map[string]string {
	shown, at := map[string]string{}, a.StartedAt
	if a.Clock != nil {
		at = time.Unix(*a.Clock, 0)
	}
	for name, values := range webhook.Masked(webhook.Request{
		EventType: log.EventType, EventID: log.EventID, EventTime: event.Timestamp(log.EventTime).String(), DeliveryID: log.DeliveryID, Attempt: a.Number,
	}, at, log.Names, log.Signed) {
		shown[name] = values[0]
	}
	return shown
}

func deliveryItem(d outbox.Delivery) (uuid.UUID, any) { return d.ID, showDelivery(d) }

func showDelivery(d outbox.Delivery) deliveryAnswer {
	return deliveryAnswer{
		ID: d.ID, EndpointID: d.EndpointID, EventType: d.EventType, EventID: d.EventID, OrganizationID: d.OrganizationID,
		Status: d.Status, FailureReason: d.FailureReason, HTTPStatusCode: d.HTTPStatus, ErrorMessage: d.Error,
		AttemptCount: d.AttemptCount, MaxAttempts: d.MaxAttempts, Generation: d.Generation, Test: d.Test, ReplayID: d.ReplayID, CreatedAt: event.Timestamp(d.CreatedAt),
		LastAttemptAt: (*event.Timestamp)(d.LastAttemptAt), DeliveredAt: (*event.Timestamp)(d.DeliveredAt), NextAttemptAt: (*event.Timestamp)(d.NextAttemptAt),
	}
}
