package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/signature"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// Tester tries receivers out. What it sends itself, it sends once and at once, as a
// dispatcher would send an event; nothing of that is stored. Whatever becomes of a
// test, it says nothing of how an endpoint is doing.
type Tester struct {
	store  *Store
	sender *webhook.Sender
}

// NewTester makes a tester. sender must have the guard of the store, so that both
// refuse the same.
func NewTester(store *Store, sender *webhook.Sender) *Tester {
	return &Tester{store: store, sender: sender}
}

// Test is a test of a URL that need not be an endpoint's.
type Test struct {
	URL       string          // as for New
	SecretKey *secret.Value   // signs the test, as for New; nil: unsigned
	Data      json.RawMessage // an object for the receiver; nil: empty
}

// Tested is what became of a test. It has no room for anything else of the receiver:
// a caller that could read bodies, headers or addresses would have a window into
// wherever this process can connect to.
type Tested struct {
	StatusCode *int          // of the answer; nil: none came
	Took       time.Duration // 0 when the target was refused
	Error      *string       // why it failed; nil: the receiver answered 2xx
}

// refusedTarget is the same for all that is refused when it is dialled. Nothing has
// been connected to then, so the words can show nothing, and neither can the time:
// that of a look-up would tell one name from another.
const refusedTarget = "target refused: webhooks may not be sent to its address or port"

// URL sends a test to any URL that could be registered. Problems: Invalid for bad
// fields and refused targets, and Unavailable when ctx ends while the host is looked up.
func (t *Tester) URL(ctx context.Context, test Test) (Tested, error) {
	if found := slices.Concat(t.store.checkURL(test.URL), checkSecretKey(test.SecretKey)); len(found) > 0 {
		return Tested{}, problem.Invalid(found...)
	}
	keys, err := testKeys(test.SecretKey)
	if err != nil {
		return Tested{}, err
	}
	now := time.Now()
	e, err := event.NewWebhookTest(postgres.NewID(now), now, test.Data)
	if errors.Is(err, event.ErrTooLarge) {
		return Tested{}, problem.Invalid(wrong("test_data", "too_large", fmt.Sprintf("use less: the body of a test has at most %d KiB", event.MaxPayload>>10))...)
	}
	if err != nil {
		return Tested{}, fmt.Errorf("make test: %w", err)
	}
	url, err := t.store.lookUp(ctx, test.URL, "")
	if err != nil {
		return Tested{}, err
	}
	return t.send(ctx, t.sender.Target(url, keys), e, webhook.DefaultTimeout)
}

func testKeys(given *secret.Value) ([][]byte, error) {
	if given == nil {
		return nil, nil
	}
	key, err := signature.DecodeSecret(string(*given))
	if err != nil {
		return nil, fmt.Errorf("secret of test: %w", err)
	}
	return [][]byte{key}, nil
}

// Endpoint sends the sample of an event type to an endpoint, as it would get an event:
// signed, with its headers and within its timeout, also while it is off or paused. nil
// is organization.created. Problems: Invalid for a type that does not exist; NotFound;
// Conflict (secret_unreadable) when its secrets cannot be decrypted; Unavailable.
func (t *Tester) Endpoint(ctx context.Context, id uuid.UUID, eventType *string) (Tested, error) {
	of, known := event.Defined(valueOr(eventType, event.OrganizationCreated))
	if !known {
		return Tested{}, problem.Invalid(wrong("event_type", "unknown_event_type", "use one of "+strings.Join(event.Types(), ", "))...)
	}
	found, err := LoadSending(ctx, t.store.db, []uuid.UUID{id})
	switch {
	case err != nil:
		return Tested{}, explain("test endpoint", "", err)
	case len(found) == 0:
		return Tested{}, problem.NotFound("endpoint")
	}
	target, err := t.target(found[0])
	if err != nil {
		return Tested{}, err
	}
	now := time.Now()
	e, err := event.NewSample(of, postgres.NewID(now), now)
	if err != nil {
		return Tested{}, fmt.Errorf("make test: %w", err)
	}
	return t.send(ctx, target, e, found[0].Timeout())
}

// target is what a dispatcher would send to.
func (t *Tester) target(s Sending) (*webhook.Target, error) {
	keys, err := s.Keys(t.store.box)
	headers, unreadable := s.CustomHeaders(t.store.box)
	if err = errors.Join(err, unreadable); err != nil {
		p := problem.Conflict("secret_unreadable", "", "The secret or the headers of the endpoint cannot be decrypted, so that nothing can be sent to it.")
		p.Err = err
		return nil, p
	}
	return t.sender.Target(s.URL, keys).WithHeaders(headers), nil
}

// send makes the one request. That the caller has gone is an error, and not the
// receiver's fault.
func (t *Tester) send(ctx context.Context, to *webhook.Target, e event.Envelope, timeout time.Duration) (Tested, error) {
	r := t.sender.Send(ctx, webhook.Request{
		Target: to, EventType: e.Type, EventID: e.ID, EventTime: event.Timestamp(e.Time).String(),
		DeliveryID: postgres.NewID(e.Time), Attempt: 1, Body: e.Payload, Timeout: timeout,
	})
	if r.Reason == webhook.Canceled {
		return Tested{}, fmt.Errorf("send test: %w", context.Cause(ctx))
	}
	return tested(r), nil
}

func tested(r webhook.Result) Tested {
	if r.Reason == webhook.BlockedAddress {
		return Tested{Error: new(refusedTarget)}
	}
	result := Tested{Took: r.Took}
	if r.StatusCode != 0 {
		result.StatusCode = &r.StatusCode
	}
	if r.Reason != "" {
		result.Error = &r.Error
	}
	return result
}
