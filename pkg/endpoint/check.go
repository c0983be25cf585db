package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/signature"
)

const (
	maxName        = 200
	maxDescription = 2000
	maxEvents      = 50
	maxWaits       = 50  // of a schedule: as many as there may be retries
	maxSecret      = 200 // characters; 64 bytes are 95 with prefix and base64

	defaultTimeout = 10
	defaultRetries = 9
)

// The numbers that an endpoint's settings take.
var (
	TimeoutSeconds        = Range{1, 30}
	MaxRetries            = Range{0, 50}
	RetryWait             = Range{1, 86_400}
	RateLimit             = Range{1, 10_000}
	MaxConcurrency        = Range{1, 1000}
	BreakerFailures       = Range{0, 1000}
	BreakerMaxOpenSeconds = Range{1, 86_400}
)

// Checked is an endpoint that has passed [Store.Check].
type Checked struct {
	// OrganizationID limits the endpoint to one organization; nil: global. The
	// onboarding sets it to the organization that it creates.
	OrganizationID *uuid.UUID
	// SecretKey signs deliveries; empty: unsigned. It is exported because fmt
	// would print an unexported one.
	SecretKey secret.Value

	path                   string // of its fields in the request
	uid                    *string
	url, name, description string
	events                 []string
	timeout, retries       int
	schedule               []int
	rate, concurrency      *int
	ordering               string
	breakerFailures        *int
	breakerMaxOpen         *int
	metadata               json.RawMessage
	filter                 json.RawMessage
	headers                map[string]string
	generated              bool
}

// Check looks at everything that needs no database. It reports every field that
// [Store.CheckFields] finds wrong, or else, once the URL's host has been looked up,
// a target that is refused: problems of kind Invalid. path is put before the field
// names ("webhook_endpoints[0]."). When ctx ends first it is Unavailable.
func (s *Store) Check(ctx context.Context, n New, path string) (Checked, error) {
	if found := s.CheckFields(n, path); len(found) > 0 {
		return Checked{}, problem.Invalid(found...)
	}
	url, err := s.lookUp(ctx, n.URL, path)
	if err != nil {
		return Checked{}, err
	}
	checked, err := n.checked(url)
	checked.path = path
	return checked, err
}

// lookUp returns a URL that has passed, normalized; path is as for [Store.Check].
func (s *Store) lookUp(ctx context.Context, raw, path string) (string, error) {
	url, err := s.guard.CheckURL(ctx, raw)
	if found := fieldsOf(err); len(found) > 0 {
		return "", problem.Invalid(under(path, found)...)
	}
	if err != nil {
		return "", problem.Unavailable("unavailable",
			"The host of the URL could not be looked up before the request ended. Nothing was changed; try again shortly.", err)
	}
	return url, nil
}

// CheckFields returns all that is wrong with n and can be told at once, without
// database and DNS. path is as for [Store.Check].
func (s *Store) CheckFields(n New, path string) []problem.Field {
	return under(path, slices.Concat(checkUID(n.UID), s.checkURL(n.URL), checkEvents(n.Events), CheckText("name", n.Name, maxName), checkDescription(n.Description),
		CheckRange("timeout_seconds", n.TimeoutSeconds, TimeoutSeconds), CheckRange("max_retries", n.MaxRetries, MaxRetries), checkSchedule(n.RetrySchedule),
		CheckRange("rate_limit", n.RateLimit, RateLimit), CheckRange("max_concurrency", n.MaxConcurrency, MaxConcurrency),
		checkOrdering(n.Ordering), CheckRange("breaker_failures", n.BreakerFailures, BreakerFailures),
		CheckRange("breaker_max_open_seconds", n.BreakerMaxOpenSeconds, BreakerMaxOpenSeconds), checkMetadata(n.Metadata), checkFilter(n.Filter), checkHeaders(n.Headers), checkAuthentication(n.Authentication, n.Headers), checkSecret(n)))
}

func under(path string, found []problem.Field) []problem.Field {
	found = slices.Clone(found)
	for i := range found {
		found[i].Field = path + found[i].Field
	}
	return found
}

// fieldsOf is what the guard refuses.
func fieldsOf(err error) []problem.Field {
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return p.Fields
	}
	return nil
}

// checked fills in the defaults and the secret that was asked for.
func (n New) checked(url string) (Checked, error) {
	c := Checked{
		OrganizationID: n.OrganizationID, uid: n.UID, url: url, name: n.Name, description: n.Description, events: slices.Clone(n.Events),
		timeout: valueOr(n.TimeoutSeconds, defaultTimeout), retries: n.retries(), schedule: n.RetrySchedule,
		rate: n.RateLimit, concurrency: n.MaxConcurrency, ordering: valueOr(n.Ordering, OrderingNone),
		breakerFailures: n.BreakerFailures, breakerMaxOpen: n.BreakerMaxOpenSeconds,
		metadata: json.RawMessage(noMetadata), filter: n.Filter, headers: n.headers().onto(nil), generated: n.GenerateSecret,
	}
	if n.Metadata != nil {
		c.metadata = n.Metadata
	}
	if n.SecretKey == nil && !n.GenerateSecret {
		return c, nil
	}
	key, err := given(n.SecretKey)
	c.SecretKey = key
	return c, err
}

func (s *Store) checkURL(raw string) []problem.Field {
	if raw == "" {
		return wrong("url", "required", "give a value")
	}
	return fieldsOf(s.guard.Precheck(raw))
}

func checkEvents(events []string) []problem.Field {
	switch {
	case len(events) == 0:
		return wrong("events", "required", "name at least one event type: "+known())
	case len(events) > maxEvents:
		return wrong("events", "too_many", fmt.Sprintf("name at most %d event types", maxEvents))
	}
	var found []problem.Field
	for i, e := range events {
		field := fmt.Sprintf("events[%d]", i)
		switch {
		case !event.Known(e):
			found = append(found, wrong(field, "unknown_event_type", "use one of "+known())...)
		case slices.Contains(events[:i], e):
			found = append(found, wrong(field, "duplicate", "name each event type once")...)
		}
	}
	return found
}

// known lists what an endpoint can subscribe to.
func known() string {
	var all []string
	for _, t := range event.Types() {
		for _, p := range event.Patterns(t) {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return strings.Join(all, ", ")
}

func checkDescription(d string) []problem.Field {
	if d == "" {
		return nil
	}
	return CheckText("description", d, maxDescription)
}

func checkOrdering(o *string) []problem.Field {
	if o == nil || *o == OrderingNone || *o == OrderingOrganization {
		return nil
	}
	return wrong("ordering", "invalid_ordering", "use none, or organization to get the deliveries of each organization one after another")
}

func checkSecret(n New) []problem.Field {
	if n.SecretKey != nil && n.GenerateSecret {
		return wrong("generate_secret", "exclusive", "give secret_key or generate_secret, not both")
	}
	return checkSecretKey(n.SecretKey)
}

// checkSecretKey takes a secret that may be left out: nil passes.
func checkSecretKey(key *secret.Value) []problem.Field {
	if key == nil {
		return nil
	}
	switch err := signature.CheckSecret(string(*key)); {
	case *key != "" && errors.Is(err, signature.ErrMalformedSecret):
		return wrong("secret_key", "invalid_secret",
			"what follows whsec_ must be base64 of 24 to 64 bytes, with the alphabet A-Z a-z 0-9 + / and its padding (=)")
	case err != nil:
		return wrong("secret_key", "weak_secret",
			"use 24 to 64 bytes (base64 after whsec_, or as they are), or let one be generated")
	}
	return CheckText("secret_key", string(*key), maxSecret)
}

func valueOr[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}
