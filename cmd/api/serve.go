package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/config"
	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/httpapi"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/telemetry"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// maxConnections is the api's pool: more would only queue inside Postgres.
const maxConnections = 16

// maxIdle is how many connections to receivers are kept open between tests.
const maxIdle = 8

func serve(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	if err := flags("serve", args, func(*flag.FlagSet) {}); err != nil {
		return err
	}
	cfg, err := config.Load(getenv, config.API)
	if err != nil {
		return err
	}
	out, err := telemetry.OpenLog(cfg.LogFile, stderr)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	log := telemetry.NewLogger(out, cfg.LogLevel, cfg.LogFormat).With(slog.String("process", "api"))
	for _, w := range cfg.Warnings() {
		log.Warn("setting to know about", slog.String("setting", w))
	}
	if unknown := config.Unknown(os.Environ()); len(unknown) > 0 {
		log.Warn("no such settings, ignored", slog.Any("settings", unknown))
	}

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.HTTPAddr)
	if err != nil {
		return fmt.Errorf("SONICUS_HTTP_ADDR: %w", err)
	}
	defer func() { _ = listener.Close() }() // closed already after an orderly stop
	db, err := postgres.Connect(ctx, string(cfg.DatabaseURL), postgres.Options{Application: "sonicus-api", MaxOpen: maxConnections})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	admin, err := telemetry.ListenAdmin(ctx, cfg.AdminAddr, log, readiness(db))
	if err != nil {
		return fmt.Errorf("SONICUS_ADMIN_ADDR: %w", err)
	}
	defer func() { _ = admin.Close() }()
	if cfg.IsDevelopment() {
		admin.ServeProfiles()
	}

	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return admin.Run(running) }) // answers while the database is awaited
	group.Go(func() error {
		err := prepare(running, cfg, db, log)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // stopped before the database was there: nothing was begun
		}
		if err != nil {
			return err
		}
		log.Info("api ready", slog.String("address", listener.Addr().String()), slog.String("admin_address", admin.Addr()),
			slog.String("version", version))
		return serveHTTP(running, cfg, db, listener, admin, log)
	})
	return group.Wait()
}

// prepare brings the database to where requests can be answered. It waits for a
// database that is not there yet.
func prepare(ctx context.Context, cfg config.Config, db *postgres.DB, log *slog.Logger) error {
	if err := patiently(ctx, log, func() error { return ready(ctx, cfg, db, log) }); err != nil {
		return err
	}
	go outbox.KeepPartitions(ctx, db, log)
	go idempotency.KeepForgetting(ctx, db, log)
	return nil
}

func ready(ctx context.Context, cfg config.Config, db *postgres.DB, log *slog.Logger) error {
	if cfg.AutoMigrate {
		if err := postgres.Migrate(ctx, string(cfg.DatabaseDirectURL), log); err != nil {
			return err
		}
	}
	if err := postgres.CheckSchema(ctx, db); err != nil {
		return err
	}
	if _, err := outbox.EnsurePartitions(ctx, db); err != nil {
		return err
	}
	box, err := newBox(cfg)
	if err != nil {
		return err
	}
	return endpoint.CheckKeys(ctx, db, box)
}

// patiently repeats fn while the database cannot be reached.
func patiently(ctx context.Context, log *slog.Logger, fn func() error) error {
	for {
		err := fn()
		if err == nil || !postgres.Unavailable(err) || ctx.Err() != nil {
			return err
		}
		log.Warn("waiting for the database", slog.Any(telemetry.ErrorKey, err))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// serveHTTP answers until ctx ends and running requests are done. The hints
// outlive the requests, so that the last commit is not left to a poll.
func serveHTTP(ctx context.Context, cfg config.Config, db *postgres.DB, listener net.Listener, admin *telemetry.Admin, log *slog.Logger) error {
	box, err := newBox(cfg)
	if err != nil {
		return err
	}
	hinting, stopHinting := context.WithCancel(context.WithoutCancel(ctx))
	hinter := outbox.NewHinter(db, log)
	var hints sync.WaitGroup
	hints.Go(func() { hinter.Run(hinting) })
	defer func() { stopHinting(); hints.Wait() }()

	sender, err := newSender(cfg, log)
	if err != nil {
		return err
	}
	defer sender.CloseIdle()
	endpoints := endpoint.NewStore(db, sender.Guard(), box, hinter.Hint)
	keys := access.NewKeys(db, cfg.BootstrapAPIKey)
	defer keys.Wait()
	admin.ServeMetrics(telemetry.Counter{
		Name:  "sonicus_auth_failures_total",
		Help:  "Requests without a key or JWT that lets anyone in; the log has a line for each, with the reason.",
		Value: func() float64 { return float64(keys.Refused()) },
	})
	if err := acceptTokens(ctx, keys, cfg, log); err != nil {
		return err
	}
	server := httpapi.New(httpapi.Options{
		Organizations: organization.NewStore(db, endpoints, hinter.Hint),
		Endpoints:     endpoints,
		Tester:        endpoint.NewTester(endpoints, sender),
		Events:        outbox.NewEvents(db),
		Deliveries:    outbox.NewDeliveries(db, hinter.HintLanes),
		Replays:       outbox.NewReplays(db),
		Keys:          keys,
		Trail:         access.NewTrail(db),
		Stats:         outbox.NewReporter(db),
		Answers:       idempotency.NewStore(db, box),
		Box:           box,
		Log:           log,
		RateLimit:     cfg.APIRateLimit,
		Egress:        egress(cfg),
	})
	err = server.Run(ctx, listener, cfg.ShutdownGrace)
	log.Info("api stopped")
	return err
}

func acceptTokens(ctx context.Context, keys *access.Keys, cfg config.Config, log *slog.Logger) error {
	if cfg.JWTAlgorithm == "" {
		return nil
	}
	tokens, err := access.NewTokens(ctx, access.TokenOptions{
		Algorithm: cfg.JWTAlgorithm, Secret: cfg.JWTSecret, JWKSURL: cfg.JWTJWKSURL,
		Issuer: cfg.JWTIssuer, Audience: cfg.JWTAudience, RoleClaim: cfg.JWTRoleClaim,
	}, log)
	if err != nil {
		return fmt.Errorf("SONICUS_JWT_JWKS_URL: %w", err)
	}
	keys.Accept(tokens)
	return nil
}

func newBox(cfg config.Config) (*secret.Box, error) {
	keys, err := secret.ParseKeys(string(cfg.EncryptionKeys))
	if err != nil {
		return nil, fmt.Errorf("SONICUS_ENCRYPTION_KEYS: %w", err)
	}
	return secret.NewBox(keys)
}

// newSender sends tests, as the dispatcher sends events.
func newSender(cfg config.Config, log *slog.Logger) (*webhook.Sender, error) {
	return webhook.NewSender(webhook.Options{
		Guard: webhook.NewGuard(policy(cfg)), Proxy: cfg.EgressProxy(), CAFile: cfg.EgressCAFile, Log: log, Idle: maxIdle,
	})
}

// egress is what receivers may let in.
func egress(cfg config.Config) httpapi.Egress {
	e := httpapi.Egress{UserAgent: webhook.UserAgent}
	for _, origin := range cfg.EgressAdvertised {
		e.Addresses = append(e.Addresses, origin.String())
	}
	return e
}

func policy(cfg config.Config) webhook.Policy {
	return webhook.Policy{
		AllowCIDRs: cfg.EgressAllowCIDRs, AllowPorts: cfg.EgressAllowPorts, AllowHTTP: cfg.IsDevelopment(),
		Own: webhook.OwnAddresses(cfg.HTTPAddr, cfg.AdminAddr),
	}
}

// readiness is what /readyz asks.
func readiness(db *postgres.DB) telemetry.Check {
	return telemetry.Check{Name: "database", Test: func(ctx context.Context) error {
		err := postgres.CheckSchema(ctx, db)
		if errors.Is(err, postgres.ErrPending) {
			return telemetry.Missing(err.Error())
		}
		return err
	}}
}
