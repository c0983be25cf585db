// Package httpapi owns HTTP in and HTTP out: the routes and who may call them,
// the JSON of requests and answers, and the one place where errors become
// problem documents (RFC 9457). It decides nothing about organizations or
// endpoints and speaks no SQL.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/secret"
)

// Limits of a connection. A client that sends a byte now and then holds one
// goroutine and a few kB, for at most as long as this.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second // the whole request
	writeTimeout      = 90 * time.Second // from the end of the header: reading, working and answering
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 32 << 10
)

// Options are what the API stands on. All but RateLimit and Egress are required.
type Options struct {
	Organizations *organization.Store
	Endpoints     *endpoint.Store
	Tester        *endpoint.Tester
	Events        *outbox.Events
	Deliveries    *outbox.Deliveries
	Replays       *outbox.Replays
	Stats         *outbox.Reporter
	Keys          *access.Keys
	Trail         *access.Trail
	Answers       *idempotency.Store
	Box           *secret.Box // makes cursors
	Log           *slog.Logger
	RateLimit     int    // requests per second and caller; 0: no limit
	Egress        Egress // shown as it is
}

// Server is the API.
type Server struct {
	organizations *organization.Store
	endpoints     *endpoint.Store
	tester        *endpoint.Tester
	events        *outbox.Events
	deliveries    *outbox.Deliveries
	replays       *outbox.Replays
	stats         *outbox.Reporter
	keys          *access.Keys
	trail         *access.Trail
	answers       *idempotency.Store
	cursors       cursors
	limits        limits // of all requests
	testLimits    limits // of those that send a test, beside
	egress        Egress
	log           *slog.Logger
	echo          *echo.Echo
}

// New makes the API, with every route mounted.
func New(o Options) *Server {
	s := &Server{
		organizations: o.Organizations, endpoints: o.Endpoints, tester: o.Tester, events: o.Events, deliveries: o.Deliveries, replays: o.Replays, stats: o.Stats, keys: o.Keys, trail: o.Trail, answers: o.Answers,
		cursors:    cursors{o.Box},
		limits:     limits{requests: o.RateLimit, per: time.Second, detail: tooManyRequests},
		testLimits: limits{requests: testsAtOnce, per: testsPer, detail: tooManyTests},
		egress:     o.Egress, log: o.Log, echo: echo.New(),
	}
	s.echo.Logger.SetOutput(io.Discard) // requests are logged by observe
	s.echo.IPExtractor = echo.ExtractIPDirect()
	s.echo.Use(s.observe, recoverPanic, s.authenticate, s.limits.enforce)
	s.mount(s.routes())
	s.mountDocuments()
	return s
}

// Handler answers every request, also those to paths that do not exist.
func (s *Server) Handler() http.Handler { return s.echo }

// Run answers on ln until ctx ends, then lets running requests finish for at
// most grace and cuts off those that do not. It closes ln in every case and
// returns nil after an orderly stop.
func (s *Server) Run(ctx context.Context, ln net.Listener, grace time.Duration) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return fmt.Errorf("stop the API: %w", errors.Join(err, server.Close()))
	}
	s.keys.Wait()
	return nil
}
