package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
)

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	strong := secret.Value(strings.Repeat("s", 32))
	key := func(s string) func(*endpoint.New) {
		return func(n *endpoint.New) { n.SecretKey = ptr(secret.Value(s)) }
	}
	events := func(e ...string) func(*endpoint.New) { return func(n *endpoint.New) { n.Events = e } }
	tests := map[string]struct {
		change      func(*endpoint.New)
		field, code string
	}{
		"a URL that is none":           {func(n *endpoint.New) { n.URL = "hook" }, "url", "invalid_url"},
		"no URL":                       {func(n *endpoint.New) { n.URL = "" }, "url", "required"},
		"plain http":                   {func(n *endpoint.New) { n.URL = "http://93.184.216.34/" }, "url", "https_required"},
		"a private address":            {func(n *endpoint.New) { n.URL = "https://127.0.0.1/" }, "url", "blocked_address"},
		"a port of another service":    {func(n *endpoint.New) { n.URL = "https://93.184.216.34:5432/" }, "url", "blocked_port"},
		"no events":                    {events(), "events", "required"},
		"too many events":              {events(make([]string, 51)...), "events", "too_many"},
		"an unknown event":             {events("organization.created", "organization.exploded"), "events[1]", "unknown_event_type"},
		"an event in upper case":       {events("Organization.Created"), "events[0]", "unknown_event_type"},
		"an empty event":               {events(""), "events[0]", "unknown_event_type"},
		"an unknown family":            {events("invoice.*"), "events[0]", "unknown_event_type"},
		"a partial pattern":            {events("organization.cre*"), "events[0]", "unknown_event_type"},
		"an event twice":               {events("*", "organization.created", "*"), "events[2]", "duplicate"},
		"no name":                      {func(n *endpoint.New) { n.Name = "" }, "name", "required"},
		"a blank name":                 {func(n *endpoint.New) { n.Name = " " }, "name", "blank"},
		"a long name":                  {func(n *endpoint.New) { n.Name = strings.Repeat("é", 201) }, "name", "too_long"},
		"a name with a line break":     {func(n *endpoint.New) { n.Name = "a\nb" }, "name", "control_character"},
		"a name that is not UTF-8":     {func(n *endpoint.New) { n.Name = "a\xff" }, "name", "invalid_utf8"},
		"a long description":           {func(n *endpoint.New) { n.Description = strings.Repeat("é", 2001) }, "description", "too_long"},
		"a description with NUL":       {func(n *endpoint.New) { n.Description = "a\x00" }, "description", "control_character"},
		"no timeout":                   {func(n *endpoint.New) { n.TimeoutSeconds = ptr(0) }, "timeout_seconds", "out_of_range"},
		"a long timeout":               {func(n *endpoint.New) { n.TimeoutSeconds = ptr(31) }, "timeout_seconds", "out_of_range"},
		"negative retries":             {func(n *endpoint.New) { n.MaxRetries = ptr(-1) }, "max_retries", "out_of_range"},
		"many retries":                 {func(n *endpoint.New) { n.MaxRetries = ptr(51) }, "max_retries", "out_of_range"},
		"a rate of none":               {func(n *endpoint.New) { n.RateLimit = ptr(0) }, "rate_limit", "out_of_range"},
		"a high rate":                  {func(n *endpoint.New) { n.RateLimit = ptr(10_001) }, "rate_limit", "out_of_range"},
		"none at once":                 {func(n *endpoint.New) { n.MaxConcurrency = ptr(0) }, "max_concurrency", "out_of_range"},
		"many at once":                 {func(n *endpoint.New) { n.MaxConcurrency = ptr(1001) }, "max_concurrency", "out_of_range"},
		"an unknown order":             {func(n *endpoint.New) { n.Ordering = ptr("fifo") }, "ordering", "invalid_ordering"},
		"an empty order":               {func(n *endpoint.New) { n.Ordering = ptr("") }, "ordering", "invalid_ordering"},
		"negative failures":            {func(n *endpoint.New) { n.BreakerFailures = ptr(-1) }, "breaker_failures", "out_of_range"},
		"many failures":                {func(n *endpoint.New) { n.BreakerFailures = ptr(1001) }, "breaker_failures", "out_of_range"},
		"a breaker open for no time":   {func(n *endpoint.New) { n.BreakerMaxOpenSeconds = ptr(0) }, "breaker_max_open_seconds", "out_of_range"},
		"a breaker open for days":      {func(n *endpoint.New) { n.BreakerMaxOpenSeconds = ptr(86_401) }, "breaker_max_open_seconds", "out_of_range"},
		"an empty secret":              {key(""), "secret_key", "weak_secret"},
		"a short secret":               {key(strings.Repeat("s", 23)), "secret_key", "weak_secret"},
		"a long secret":                {key(strings.Repeat("s", 65)), "secret_key", "weak_secret"},
		"a secret that is not base64":  {key("whsec_" + strings.Repeat("!", 32)), "secret_key", "invalid_secret"},
		"a secret short when decoded":  {key("whsec_" + strings.Repeat("A", 28)), "secret_key", "weak_secret"},
		"a secret with a line break":   {key(string(strong) + "\n"), "secret_key", "control_character"},
		"a secret with a space behind": {key(string(strong) + " "), "secret_key", "surrounding_space"},
		"a secret that is not UTF-8":   {key(string(strong) + "\xff"), "secret_key", "invalid_utf8"},
		"two secrets":                  {func(n *endpoint.New) { n.SecretKey, n.GenerateSecret = &strong, true }, "generate_secret", "exclusive"},
	}
	store := newStore(t, nil)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := valid()
			tt.change(&n)
			_, err := store.Check(t.Context(), n, "webhook_endpoints[3].")
			p := problemOf(t, err)
			if p.Kind != problem.KindInvalid || p.Code != tt.code || len(p.Fields) != 1 || p.Fields[0].Field != "webhook_endpoints[3]."+tt.field {
				t.Errorf("got %+v, want %s of %s", p, tt.code, tt.field)
			}
			if n.SecretKey != nil && len(*n.SecretKey) > 1 && strings.Contains(p.Error(), string(*n.SecretKey)) {
				t.Error("the problem repeats the secret")
			}
		})
	}
}

func TestCheckAccepts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*endpoint.New){
		"the least":          func(*endpoint.New) {},
		"every pattern":      func(n *endpoint.New) { n.Events = []string{"organization.created", "organization.*", "*"} },
		"the longest texts":  func(n *endpoint.New) { n.Name, n.Description = strings.Repeat("é", 200), strings.Repeat("é", 2000) },
		"operational events": func(n *endpoint.New) { n.Events = []string{"*", "webhook.*", "webhook.endpoint.disabled"} },
		"the least numbers": func(n *endpoint.New) {
			n.TimeoutSeconds, n.MaxRetries, n.RateLimit, n.MaxConcurrency, n.BreakerFailures, n.BreakerMaxOpenSeconds = ptr(1), ptr(0), ptr(1), ptr(1), ptr(0), ptr(1)
		},
		"the greatest numbers": func(n *endpoint.New) {
			n.TimeoutSeconds, n.MaxRetries, n.RateLimit, n.MaxConcurrency, n.BreakerFailures, n.BreakerMaxOpenSeconds = ptr(30), ptr(50), ptr(10_000), ptr(1000), ptr(1000), ptr(86_400)
		},
		"no order":                func(n *endpoint.New) { n.Ordering = ptr("none") },
		"order":                   func(n *endpoint.New) { n.Ordering = ptr("organization") },
		"the shortest secret":     func(n *endpoint.New) { n.SecretKey = ptr(secret.Value(strings.Repeat("s", 24))) },
		"the longest secret":      func(n *endpoint.New) { n.SecretKey = ptr(secret.Value(strings.Repeat("s", 64))) },
		"a Standard Webhooks one": func(n *endpoint.New) { n.SecretKey = ptr(secret.Value("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")) },
		"a generated secret":      func(n *endpoint.New) { n.GenerateSecret = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := valid()
			change(&n)
			if _, err := newStore(t, nil).Check(t.Context(), n, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCheckReportsEveryBadFieldAtOnce(t *testing.T) {
	t.Parallel()
	n := endpoint.New{
		URL: "http://127.0.0.1", Events: []string{"a", "b"}, Description: "\x00", SecretKey: ptr(secret.Value("short")),
		TimeoutSeconds: ptr(99), MaxRetries: ptr(99),
	}
	_, err := newStore(t, nil).Check(t.Context(), n, "")
	p := problemOf(t, err)
	var got []string
	for _, f := range p.Fields {
		got = append(got, f.Field+" "+f.Code)
	}
	want := []string{
		"url https_required", "events[0] unknown_event_type", "events[1] unknown_event_type", "name required", "description control_character",
		"timeout_seconds out_of_range", "max_retries out_of_range", "secret_key weak_secret",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownEventNamesTheKnownOnes(t *testing.T) {
	t.Parallel()
	n := valid()
	n.Events = []string{"organisation.created"}
	_, err := newStore(t, nil).Check(t.Context(), n, "")
	for _, known := range []string{"organization.created", "organization.*", " *"} {
		if detail := problemOf(t, err).Detail; !strings.Contains(detail, known) {
			t.Errorf("%q does not name %q", detail, known)
		}
	}
}

func TestNothingIsLookedUpWhileAnotherFieldIsWrong(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change  func(*endpoint.New)
		lookUps bool
	}{
		"all is well":       {func(*endpoint.New) {}, true},
		"an unknown event":  {func(n *endpoint.New) { n.Events = []string{"organization.exploded"} }, false},
		"a weak secret":     {func(n *endpoint.New) { n.SecretKey = ptr(secret.Value("short")) }, false},
		"a port refused":    {func(n *endpoint.New) { n.URL = "https://hooks.example.com:5432/" }, false},
		"a URL that is not": {func(n *endpoint.New) { n.URL = "https://hooks.example.com/#x" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			store := newStoreWith(t, &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				asked.Add(1)
				return nil, errors.New("no name server")
			}})
			n := valid()
			n.URL = "https://hooks.example.com/"
			tt.change(&n)
			if _, err := store.Check(t.Context(), n, ""); (err == nil) != tt.lookUps || (asked.Load() > 0) != tt.lookUps {
				t.Errorf("%d look-ups, %v", asked.Load(), err)
			}
		})
	}
}

func TestRequestThatEndsDuringTheLookUpMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	started := make(chan struct{}, 9)
	store := newStoreWith(t, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	n := valid()
	n.URL = "https://hooks.example.com/"
	expiring, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	canceled, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	for cause, ctx := range map[error]context.Context{context.Canceled: canceled, context.DeadlineExceeded: expiring} {
		_, err := store.Create(ctx, n)
		if p := problemOf(t, err); p.Kind != problem.KindUnavailable || !errors.Is(err, cause) || p.RetryAfter <= 0 {
			t.Errorf("%v: got %+v", cause, p)
		}
	}
}

func TestPrintedEndpointsHideTheirSecret(t *testing.T) {
	t.Parallel()
	const marker = "marker-0123456789-0123456789-0123456789"
	n := valid()
	n.SecretKey = ptr(secret.Value(marker))
	checked, err := newStore(t, nil).Check(t.Context(), n, "")
	if err != nil {
		t.Fatal(err)
	}
	created := endpoint.Created{Endpoint: endpoint.Endpoint{ID: uuid.Max}, SecretKey: marker}
	for _, v := range []any{n, checked, created} {
		for _, printed := range []string{fmt.Sprintf("%v %+v %#v", v, v, v), asJSON(t, v)} {
			if strings.Contains(printed, marker) {
				t.Errorf("%T prints its secret", v)
			}
		}
	}
}
