package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/problem"
)

func TestEveryAnswerHasTheSafetyHeaders(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, path := range []string{"/", "/api/v1/organizations", "/api/v1/organizations/x", "/api/v1/nothing"} {
		for _, key := range []string{"", bootstrapKey} {
			h := a.do(t, call{method: "GET", path: path, key: key}).header
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" || h.Get("Server") != "" || h.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %v", path, h)
			}
			if _, ok := parseID(h.Get("X-Request-Id")); !ok {
				t.Errorf("%s: request id %q", path, h.Get("X-Request-Id"))
			}
		}
	}
}

func TestRequestIDIsKeptOnlyWhenItIsAUUID(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := uuid.NewString()
	tests := map[string]struct {
		given string
		kept  bool
	}{
		"UUID":       {id, true},
		"upper case": {strings.ToUpper(id), true},
		"absent":     {"", false},
		"text":       {"my-request", false},
		"braces":     {"{" + id + "}", false},
		"long":       {strings.Repeat(id, 20), false},
		"ANSI":       {"\x1b[31m" + id[5:], false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, sendable := parseID(tt.given); !sendable && strings.ContainsRune(tt.given, 0x1b) {
				if got := requestID(tt.given); got == tt.given { // Go's client refuses to send it
					t.Errorf("kept %q", got)
				}
				return
			}
			got := a.do(t, call{method: "GET", path: "/", header: map[string]string{"X-Request-Id": tt.given}}).header.Get("X-Request-Id")
			if (got == strings.ToLower(tt.given)) != tt.kept {
				t.Errorf("given %q, answered %q", tt.given, got)
			}
		})
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, path := range []string{"/", "/docs/x", "/api", "/metrics"} {
		a.do(t, call{method: "GET", path: path}).problem(t, 404, "not_found")
	}
	a.get(t, "/api/v1/nothing").problem(t, 404, "not_found")
	for path, allow := range map[string]string{
		"/api/v1/organizations":             "OPTIONS, GET, HEAD, POST",
		"/api/v1/webhooks/events/x":         "OPTIONS, GET, HEAD",
		"/api/v1/super-admin/organizations": "OPTIONS, POST",
	} {
		for _, method := range []string{"DELETE", "PUT", "PATCH", "TRACE", "BREW"} {
			got := a.do(t, call{method: method, path: path, key: bootstrapKey})
			got.problem(t, 405, "method_not_allowed")
			if got.header.Get("Allow") != allow {
				t.Errorf("%s %s: Allow %q", method, path, got.header.Get("Allow"))
			}
		}
		got := a.do(t, call{method: "OPTIONS", path: path, key: bootstrapKey})
		if got.status != 204 || got.header.Get("Allow") != allow || got.body != "" {
			t.Errorf("OPTIONS %s: %d %q %q", path, got.status, got.header.Get("Allow"), got.body)
		}
		a.do(t, call{method: "OPTIONS", path: path}).problem(t, 401, "unauthenticated")
	}
}

func TestHeadAnswersLikeGetWithoutABody(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for i := range 10 { // more than net/http buffers to count the length itself
		a.post(t, organizationsPath, collections[organizationsPath](i)).json(t, 201)
	}
	for _, path := range []string{"/api/v1/organizations", "/api/v1/organizations/x", "/api/v1/webhooks/endpoints"} {
		get, head := a.get(t, path), a.do(t, call{method: "HEAD", path: path, key: bootstrapKey})
		if head.status != get.status || head.body != "" || head.header.Get("Content-Length") != strconv.Itoa(len(get.body)) ||
			head.header.Get("Content-Type") != get.header.Get("Content-Type") {
			t.Errorf("%s: %d %v, GET %d %v", path, head.status, head.header, get.status, get.header)
		}
	}
}

func TestPanicEndsOneRequestOnly(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.echo.GET("/panic", func(echo.Context) error { panic("marker-in-a-panic") })
	a.echo.GET("/late", func(c echo.Context) error {
		_ = c.String(http.StatusOK, "begun")
		panic("after the answer")
	})
	got := a.do(t, call{method: "GET", path: "/panic"})
	d := got.problem(t, 500, "internal")
	if strings.Contains(got.body, "marker") || strings.Contains(got.body, "goroutine") {
		t.Errorf("shown: %s", got.body)
	}
	text := fmt.Sprint(a.logs.line(t, d.RequestID)["error"])
	if !strings.Contains(text, "marker-in-a-panic") || !strings.Contains(text, "server_test.go") {
		t.Errorf("logged: %s", text)
	}
	if got := a.do(t, call{method: "GET", path: "/late"}); got.status != 200 || got.body != "begun" {
		t.Errorf("a second answer was added: %d %q", got.status, got.body)
	}
	a.get(t, "/api/v1/organizations").json(t, 200)
}

func TestUnexpectedErrorsAreLoggedAndNotShown(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.change(t, `ALTER TABLE sonicus.organizations RENAME TO hidden_relation`)
	got := a.get(t, "/api/v1/organizations")
	d := got.problem(t, 500, "internal")
	if strings.Contains(got.body, "relation") {
		t.Errorf("shown: %s", got.body)
	}
	if line := a.logs.line(t, d.RequestID); !strings.Contains(fmt.Sprint(line["error"]), "relation") || line["level"] != "ERROR" {
		t.Errorf("logged: %v", line)
	}
}

func TestDatabaseAwayIs503(t *testing.T) {
	t.Parallel()
	a := newAPIOn(t, unreachable(t))
	organization := `{"name":"A","domain":"a.example.com","primary_contact_email":"a@example.com"}`
	for name, c := range map[string]call{
		"authentication": {method: "GET", path: "/api/v1/organizations", key: "snk_" + strings.Repeat("A", 43)},
		"create":         {method: "POST", path: "/api/v1/organizations", key: bootstrapKey, body: organization},
		"get":            {method: "GET", path: "/api/v1/organizations/x", key: bootstrapKey},
		"list":           {method: "GET", path: "/api/v1/organizations", key: bootstrapKey},
		"endpoints":      {method: "GET", path: "/api/v1/webhooks/endpoints", key: bootstrapKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := a.do(t, c)
			got.problem(t, 503, "unavailable")
			if got.header.Get("Retry-After") == "" || got.header.Get("WWW-Authenticate") != "" {
				t.Errorf("headers %v", got.header)
			}
		})
	}
}

func TestEveryKindHasItsStatus(t *testing.T) {
	t.Parallel()
	want := map[error]int{
		problem.Malformed("x", "x"): 400, problem.Unauthenticated(): 401, problem.Forbidden("x"): 403, problem.NotFound("x"): 404,
		problem.MethodNotAllowed(): 405, problem.Conflict("x", "x", "x"): 409, problem.TooLarge("x"): 413, problem.UnsupportedMedia("x"): 415,
		problem.Invalid(): 422, problem.TooMany(0, "x"): 429, problem.Internal(nil): 500, problem.Unavailable("x", "x", nil): 503,
		errors.New("x"): 500, context.Canceled: 503, echo.ErrNotFound: 404, echo.ErrMethodNotAllowed: 405, echo.ErrTeapot: 500,
	}
	for err, status := range want {
		if got := statusOf(problemOf(fmt.Errorf("wrapped: %w", err)).Kind); got != status {
			t.Errorf("%v: got %d, want %d", err, got, status)
		}
	}
}

func TestRetryAfterIsWholeSecondsAndNeverTooSoon(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for after, want := range map[time.Duration]string{0: "", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60"} {
		path := "/after-" + after.String()
		a.echo.GET(path, func(echo.Context) error { return problem.TooMany(after, "x") })
		got := a.do(t, call{method: "GET", path: path})
		got.problem(t, 429, "rate_limited")
		if got.header.Get("Retry-After") != want {
			t.Errorf("%s: %q", after, got.header.Get("Retry-After"))
		}
	}
}

// run starts Run on a free port. stop ends it and returns what Run returned.
func (a *api) run(t *testing.T, grace time.Duration) (addr string, stop context.CancelFunc, done chan error) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	done = make(chan error, 1)
	go func() { done <- a.Run(ctx, ln, grace) }()
	return ln.Addr().String(), stop, done
}

// half opens a connection and sends a create up to the middle of its body.
func half(t *testing.T, addr string) (conn net.Conn, rest string) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	body := `{"name":"Slow","domain":"slow.example.com","primary_contact_email":"a@example.com"}`
	_, err = fmt.Fprintf(conn, "POST /api/v1/organizations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", bootstrapKey, len(body))
	if err != nil {
		t.Fatal(err)
	}
	// The server asks for the body when the handler reads it: the request is then under way.
	line, err := bufio.NewReader(io.LimitReader(conn, 25)).ReadString('\n')
	if err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%v: %q", err, line)
	}
	if _, err := io.WriteString(conn, body[:20]); err != nil {
		t.Fatal(err)
	}
	return conn, body[20:]
}

func TestStopLetsRunningRequestsFinish(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	addr, stop, done := a.run(t, time.Minute)
	conn, rest := half(t, addr)
	stop()
	waitRefused(t, addr)
	if _, err := io.WriteString(conn, rest); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("got %s", resp.Status)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestStopCutsOffWhatOutlastsTheGrace(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	addr, stop, done := a.run(t, 50*time.Millisecond)
	half(t, addr)
	stop()
	if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
}

func TestTakenListenerFailsTheRun(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context(), ln, time.Second); err == nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// waitRefused returns when nobody listens on addr any more.
func waitRefused(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
	t.Fatal("still listening")
}

func TestSilentClientsAreDropped(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	addr, stop, done := a.run(t, time.Second)
	conns := make([]net.Conn, 100)
	for i := range conns {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost:"); err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	do(t, "http://"+addr, call{method: "GET", path: organizationsPath, key: bootstrapKey}).json(t, 200)
	for _, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(25 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the server keeps a connection that says nothing")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHeadersOver32KiBAreRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	addr, stop, done := a.run(t, time.Second)
	got := do(t, "http://"+addr, call{method: "GET", path: "/", header: map[string]string{"X-Big": strings.Repeat("a", 40<<10)}})
	if got.status != 431 {
		t.Errorf("got %d", got.status)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
