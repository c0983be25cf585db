package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/goleak"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const (
	bootstrapKey = "bootstrap-key-of-at-least-32-characters"
	hook         = "http://127.0.0.1:8800/hook"
)

// api is the real API on a real database, reachable over real HTTP.
type api struct {
	*Server
	db   *sqlx.DB
	logs *logBuffer
	url  string
}

func newAPI(t *testing.T) *api {
	t.Helper()
	return newAPIOn(t, pgtest.New(t))
}

func newAPIOn(t *testing.T, db *sqlx.DB) *api {
	t.Helper()
	return newAPIFor(t, db, netip.MustParsePrefix("127.0.0.0/8"))
}

// newAPIFor is the API where receivers may have these addresses beside public ones.
func newAPIFor(t *testing.T, db *sqlx.DB, receivers netip.Prefix) *api {
	t.Helper()
	box, err := secret.NewBox([]secret.Key{{ID: "test", Bytes: bytes.Repeat([]byte{7}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	guard := webhook.NewGuard(webhook.Policy{AllowHTTP: true, AllowCIDRs: []netip.Prefix{receivers}, Resolver: nameless()})
	endpoints := endpoint.NewStore(db, guard, box, nil)
	sender, err := webhook.NewSender(webhook.Options{Guard: guard})
	if err != nil {
		t.Fatal(err)
	}
	logs := new(logBuffer)
	s := New(Options{
		Organizations: organization.NewStore(db, endpoints, nil), Endpoints: endpoints, Tester: endpoint.NewTester(endpoints, sender),
		Events: outbox.NewEvents(db), Deliveries: outbox.NewDeliveries(db, nil),
		Replays: outbox.NewReplays(db), Stats: outbox.NewReporter(db), Keys: access.NewKeys(db, bootstrapKey), Trail: access.NewTrail(db), Answers: idempotency.NewStore(db, box), Box: box,
		Egress: Egress{[]string{"198.51.100.7"}, webhook.UserAgent},
		Log:    slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		sender.CloseIdle()
		s.keys.Wait()
	})
	return &api{Server: s, db: db, logs: logs, url: web.URL}
}

// logBuffer is what the server has logged so far.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// line waits for the log line of a request and returns its attributes: a line is
// written after the answer.
func (b *logBuffer) line(t *testing.T, requestID string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		for text := range strings.Lines(b.String()) {
			var line map[string]any
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatalf("not a line of JSON: %q", text)
			}
			if line["request_id"] == requestID {
				return line
			}
		}
	}
	t.Fatalf("no log line for request %s", requestID)
	return nil
}

// call is a request; zero values are a GET without credentials.
type call struct {
	method, path, key, body string
	header                  map[string]string // set last; an empty value removes
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends the call and checks that the answer is as openapi.yaml has it. The client follows no redirects, so that one would be seen.
func (a *api) do(t *testing.T, c call) answer {
	t.Helper()
	got := do(t, a.url, c)
	a.keeps(t, c, got)
	return got
}

func do(t *testing.T, url string, c call) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), c.method, url+c.path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range c.header {
		if req.Header.Set(name, value); value == "" {
			req.Header.Del(name)
		}
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (a *api) get(t *testing.T, path string) answer {
	t.Helper()
	return a.do(t, call{method: "GET", path: path, key: bootstrapKey})
}

func (a *api) post(t *testing.T, path, body string) answer {
	t.Helper()
	return a.do(t, call{method: "POST", path: path, key: bootstrapKey, body: body})
}

// problem checks that the answer is a complete problem document with this status
// and code, and returns it.
func (a answer) problem(t *testing.T, status int, code string) document {
	t.Helper()
	var d document
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		t.Fatalf("status %d, not a problem document: %v: %s", a.status, err, a.body)
	}
	if a.status != status || d.Status != status || d.Code != code {
		t.Fatalf("got %d, want %d %s: %s", a.status, status, code, a.body)
	}
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q", ct)
	}
	if d.Type != "about:blank" || d.Title != http.StatusText(status) || d.Detail == "" || d.Errors == nil || d.RequestID != a.header.Get("X-Request-Id") {
		t.Errorf("incomplete: %s", a.body)
	}
	return d
}

// json decodes an answer of the given status.
func (a answer) json(t *testing.T, status int) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.status != status {
		t.Fatalf("got %d, want %d: %v: %s", a.status, status, err, a.body)
	}
	if ct := a.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
	return v
}

func (d document) fieldNames() string { return names(d.Errors) }

func names(fields []problem.Field) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Field)
	}
	return strings.Join(all, " ")
}

// keysOf lists the keys of a JSON object in their order.
func keysOf(t *testing.T, object string) []string {
	t.Helper()
	f, err := parseObject([]byte(object))
	if err != nil {
		t.Fatalf("%v: %s", err, object)
	}
	return f.names
}

func (a *api) createKey(t *testing.T, name string, role access.Role) string {
	t.Helper()
	made, err := a.keys.Create(t.Context(), access.NewKey{Name: name, Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return string(made.Plaintext)
}

func (a *api) change(t *testing.T, statement string) {
	t.Helper()
	err := postgres.InTx(t.Context(), a.db, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := tx.ExecContext(t.Context(), statement)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// unreachable is a pool on a port where nobody listens.
func unreachable(t *testing.T) *sqlx.DB {
	t.Helper()
	nobody := httptest.NewServer(nil)
	address := nobody.Listener.Addr().String()
	nobody.Close()
	db, err := postgres.Connect(context.Background(), "postgres://nobody@"+address+"/none?sslmode=disable", postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
