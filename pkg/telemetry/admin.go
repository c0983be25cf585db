package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof" // it also registers with http.DefaultServeMux, which nothing serves
	"sync"
	"sync/atomic"
	"time"
)

const (
	checkTimeout = 2 * time.Second // for all readiness checks together; probes ask every few seconds
	stopTimeout  = 5 * time.Second
)

// Check is one condition of readiness. Test must end soon after ctx does. The
// text of its error is logged, but not shown to whoever asks: it may hold
// addresses and user names. A [Missing] error is shown.
type Check struct {
	Name string // snake_case, for example database
	Test func(ctx context.Context) error
}

// Missing is an error that /readyz may show to anyone, for example
// Missing("migration 3 is pending").
type Missing string

// Error is the text itself.
func (m Missing) Error() string { return string(m) }

// Admin is the HTTP server for orchestrators: /healthz answers 200 while the
// process is alive, /readyz 200 or 503 with the checks by name.
type Admin struct {
	listener net.Listener
	server   *http.Server
	mux      *http.ServeMux
	checks   []Check
	log      *slog.Logger
	unready  atomic.Bool // as last answered, so that only changes are logged
}

// ListenAdmin binds addr (port 0 takes a free one), so that a taken port fails
// at the start and not later. Nothing is answered before Run.
func ListenAdmin(ctx context.Context, addr string, log *slog.Logger, checks ...Check) (*Admin, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the admin server: %w", err)
	}
	a := &Admin{listener: listener, mux: http.NewServeMux(), checks: checks, log: log}
	a.mux.HandleFunc("GET /healthz", healthz)
	a.mux.HandleFunc("GET /readyz", a.readyz)
	a.server = &http.Server{
		Handler:           withHeaders(a.mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return a, nil
}

// ServeProfiles adds Go's profiles under /debug/pprof/, for go tool pprof. Call it
// before Run, and not in production: a profile shows what the program works on, and
// taking one costs CPU time.
func (a *Admin) ServeProfiles() {
	a.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	a.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	a.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// Addr is the address that is listened on, as host:port.
func (a *Admin) Addr() string { return a.listener.Addr().String() }

// Run answers until ctx ends, then lets running answers finish for at most
// five seconds. It returns nil after an orderly stop, and closes the listener in
// every case. Call it once.
func (a *Admin) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- a.server.Serve(a.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the admin address: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := a.server.Shutdown(stopping)
	if err != nil {
		err = fmt.Errorf("stop the admin server: %w", errors.Join(err, a.server.Close()))
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Close releases the address when Run is never called. After Run it does nothing.
func (a *Admin) Close() error {
	if err := a.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the admin server: %w", err)
	}
	return nil
}

func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// report is the body of both answers.
type report struct {
	Status string        `json:"status"` // ok or unavailable
	Checks []checkResult `json:"checks,omitempty"`
}

type checkResult struct {
	Name   string `json:"name"`
	Status string `json:"status"`           // ok or failed
	Detail string `json:"detail,omitempty"` // what is missing
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, report{Status: "ok"})
}

func (a *Admin) readyz(w http.ResponseWriter, r *http.Request) {
	errs := a.test(r.Context())
	answer, status := report{Status: "ok"}, http.StatusOK
	for i, check := range a.checks {
		answer.Checks = append(answer.Checks, resultOf(check.Name, errs[i]))
	}
	failure := errors.Join(errs...)
	if failure != nil {
		answer.Status, status = "unavailable", http.StatusServiceUnavailable
	}
	// An asker that hung up canceled the checks: that says nothing about us.
	if r.Context().Err() == nil {
		a.logChange(r.Context(), failure)
	}
	write(w, status, answer)
}

// test runs all checks at once and returns their errors in order.
func (a *Admin) test(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	errs := make([]error, len(a.checks))
	var running sync.WaitGroup
	for i, check := range a.checks {
		running.Go(func() {
			if err := check.Test(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", check.Name, err)
			}
		})
	}
	running.Wait()
	return errs
}

func resultOf(name string, err error) checkResult {
	if err == nil {
		return checkResult{Name: name, Status: "ok"}
	}
	if missing, ok := errors.AsType[Missing](err); ok {
		return checkResult{Name: name, Status: "failed", Detail: string(missing)}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return checkResult{Name: name, Status: "failed", Detail: "no answer within " + checkTimeout.String()}
	}
	return checkResult{Name: name, Status: "failed", Detail: "the log has the reason"}
}

func (a *Admin) logChange(ctx context.Context, failure error) {
	if a.unready.Swap(failure != nil) == (failure != nil) {
		return
	}
	if failure != nil {
		a.log.WarnContext(ctx, "not ready", ErrorKey, failure)
		return
	}
	a.log.InfoContext(ctx, "ready again")
}

func write(w http.ResponseWriter, status int, body report) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the asker hung up; nobody is left to tell
}
