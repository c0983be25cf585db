package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sonicus/webhooks/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs an admin server on a free port and stops it with the test.
func start(t *testing.T, log *slog.Logger, checks ...telemetry.Check) *telemetry.Admin {
	t.Helper()
	admin, err := telemetry.ListenAdmin(t.Context(), "127.0.0.1:0", log, checks...)
	if err != nil {
		t.Fatal(err)
	}
	run(t, admin)
	return admin
}

// run answers until the test ends.
func run(t *testing.T, admin *telemetry.Admin) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- admin.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

type answer struct {
	Code   int
	Header http.Header
	Body   string
}

func ask(t *testing.T, method, url string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func failing(err error) telemetry.Check {
	return telemetry.Check{Name: "database", Test: func(context.Context) error { return err }}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestHealthzAnswersWhateverTheChecksSay(t *testing.T) {
	t.Parallel()
	admin := start(t, quiet(), failing(errors.New("down")))
	got := ask(t, http.MethodGet, "http://"+admin.Addr()+"/healthz")
	if got.Code != http.StatusOK || got.Body != `{"status":"ok"}`+"\n" {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
}

func TestReadyzNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	slow := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	admin := start(t, quiet(),
		telemetry.Check{Name: "listener", Test: func(context.Context) error { return nil }},
		telemetry.Check{Name: "schema", Test: func(context.Context) error { return telemetry.Missing("migration 3 is pending") }},
		failing(errors.New("password authentication failed for user alice")),
		telemetry.Check{Name: "queue", Test: slow},
	)
	got := ask(t, http.MethodGet, "http://"+admin.Addr()+"/readyz")
	want := `{"status":"unavailable","checks":[` +
		`{"name":"listener","status":"ok"},` +
		`{"name":"schema","status":"failed","detail":"migration 3 is pending"},` +
		`{"name":"database","status":"failed","detail":"the log has the reason"},` +
		`{"name":"queue","status":"failed","detail":"no answer within 2s"}]}` + "\n"
	if diff := cmp.Diff(want, got.Body); got.Code != http.StatusServiceUnavailable || diff != "" {
		t.Errorf("status %d, body (-want +got):\n%s", got.Code, diff)
	}
}

func TestReadyzIsOKWithEveryCheckPassing(t *testing.T) {
	t.Parallel()
	admin := start(t, quiet(), failing(nil))
	got := ask(t, http.MethodGet, "http://"+admin.Addr()+"/readyz")
	if want := `{"status":"ok","checks":[{"name":"database","status":"ok"}]}` + "\n"; got.Code != http.StatusOK || got.Body != want {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
}

func TestReadinessIsLoggedOncePerChange(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var down atomic.Bool
	admin := start(t, telemetry.NewLogger(&out, slog.LevelInfo, "json"), telemetry.Check{
		Name: "database",
		Test: func(context.Context) error {
			if down.Load() {
				return errors.New("connection refused")
			}
			return nil
		},
	})
	for _, state := range []bool{false, true, true, false, false} {
		down.Store(state)
		ask(t, http.MethodGet, "http://"+admin.Addr()+"/readyz")
	}

	type entry struct{ Level, Msg, Error string }
	var got []entry
	for line := range strings.Lines(out.String()) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []entry{{"WARN", "not ready", "database: connection refused"}, {"INFO", "ready again", ""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestEveryAnswerForbidsSniffingAndStoring(t *testing.T) {
	t.Parallel()
	admin := start(t, quiet())
	for path, code := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 404, "/metrics": 404, "/healthz/x": 404} {
		got := ask(t, http.MethodGet, "http://"+admin.Addr()+path)
		if got.Code != code {
			t.Errorf("%s answered %d, want %d", path, got.Code, code)
		}
		if got.Header.Get("X-Content-Type-Options") != "nosniff" || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, got.Header)
		}
	}
	if got := ask(t, http.MethodPost, "http://"+admin.Addr()+"/healthz"); got.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST answered %d", got.Code)
	}
}

func TestTakenPortFailsAtOnce(t *testing.T) {
	t.Parallel()
	admin := start(t, quiet())
	if _, err := telemetry.ListenAdmin(t.Context(), admin.Addr(), quiet()); err == nil || !strings.Contains(err.Error(), admin.Addr()) {
		t.Errorf("got %v, want an error that names %s", err, admin.Addr())
	}
}

func TestCloseReleasesTheAddress(t *testing.T) {
	t.Parallel()
	admin, err := telemetry.ListenAdmin(t.Context(), "127.0.0.1:0", quiet())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // closing twice is harmless
		if err := admin.Close(); err != nil {
			t.Fatal(err)
		}
	}
	again, err := telemetry.ListenAdmin(t.Context(), admin.Addr(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStopLetsARunningAnswerFinish(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	admin, err := telemetry.ListenAdmin(t.Context(), "127.0.0.1:0", quiet(), telemetry.Check{
		Name: "slow",
		Test: func(context.Context) error { close(asked); <-release; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done, code := make(chan error, 1), make(chan int, 1)
	go func() { done <- admin.Run(ctx) }()
	go func() { code <- ask(t, http.MethodGet, "http://"+admin.Addr()+"/readyz").Code }()
	<-asked
	stop()
	close(release)
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := <-code; got != http.StatusOK {
		t.Errorf("the running answer became %d", got)
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	admin := start(t, quiet(), failing(errors.New("down")))
	_, port, _ := strings.Cut(admin.Addr(), ":")

	for _, addr := range []string{admin.Addr(), ":" + port, "0.0.0.0:" + port, "localhost:" + port} {
		if err := telemetry.Probe(t.Context(), addr, "/healthz"); err != nil {
			t.Errorf("OK %s: %v", addr, err)
		}
	}
	if err := telemetry.Probe(t.Context(), admin.Addr(), "/readyz"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("not ready: got %v", err)
	}
	for _, addr := range []string{"127.0.0.1:1", "[::]:1", "nonsense"} {
		if err := telemetry.Probe(t.Context(), addr, "/healthz"); err == nil {
			t.Errorf("%s answered", addr)
		}
	}
}

func TestProbeGivesUp(t *testing.T) {
	t.Parallel()
	admin := start(t, quiet(), telemetry.Check{
		Name: "slow",
		Test: func(ctx context.Context) error { <-ctx.Done(); return nil },
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := telemetry.Probe(ctx, admin.Addr(), "/readyz"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestProfilesAreServedOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile"} {
		if got := ask(t, http.MethodGet, "http://"+start(t, quiet()).Addr()+path); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d without ServeProfiles, want 404", path, got.Code)
		}
		admin, err := telemetry.ListenAdmin(t.Context(), "127.0.0.1:0", quiet())
		if err != nil {
			t.Fatal(err)
		}
		admin.ServeProfiles()
		run(t, admin)
		if got := ask(t, http.MethodGet, "http://"+admin.Addr()+path); !strings.Contains(got.Body, want) {
			t.Errorf("%s: %d %.100q, want %q in it", path, got.Code, got.Body, want)
		}
	}
}
