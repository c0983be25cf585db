package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/sonicus/webhooks/pkg/config"
	"github.com/sonicus/webhooks/pkg/dispatch"
	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/telemetry"
	"github.com/sonicus/webhooks/pkg/webhook"
)

const (
	// maxConnections: one claims, one settles, few release or look after partitions.
	maxConnections = 6
	// gcPercent trades memory that the service hardly uses for 12 % more
	// deliveries per second (measured).
	gcPercent = 400
)

func deliver(ctx, abort context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	if err := flags("run", args, func(*flag.FlagSet) {}); err != nil {
		return err
	}
	cfg, err := config.Load(getenv, config.Dispatcher)
	if err != nil {
		return err
	}
	out, err := telemetry.OpenLog(cfg.LogFile, stderr)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	log := telemetry.NewLogger(out, cfg.LogLevel, cfg.LogFormat).With(slog.String("process", "dispatcher"))
	for _, w := range cfg.Warnings() {
		log.Warn("setting to know about", slog.String("setting", w))
	}
	if unknown := config.Unknown(os.Environ()); len(unknown) > 0 {
		log.Warn("no such settings, ignored", slog.Any("settings", unknown))
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	db, err := postgres.Connect(ctx, string(cfg.DatabaseURL), postgres.Options{Application: "sonicus-dispatcher", MaxOpen: maxConnections})
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

	answering, stopAnswering := context.WithCancel(context.WithoutCancel(ctx)) // also while draining
	answered := make(chan error, 1)
	go func() { answered <- admin.Run(answering) }()
	log = log.With(slog.String("name", processName()))
	log.Info("dispatcher started", slog.String("admin_address", admin.Addr()), slog.String("version", version))
	err = dispatchUntil(ctx, abort, cfg, db, admin, log)
	stopAnswering()
	err = errors.Join(err, <-answered)
	return err
}

// dispatchUntil waits for the schema and delivers until ctx ends.
func dispatchUntil(ctx, abort context.Context, cfg config.Config, db *postgres.DB, admin *telemetry.Admin, log *slog.Logger) error {
	sender, box, err := outbound(cfg, log)
	if err != nil {
		return err
	}
	if err := postgres.AwaitSchema(ctx, db, log); err != nil {
		return nil //nolint:nilerr // stopped before the schema was there: nothing was begun
	}
	if err := endpoint.CheckKeys(ctx, db, box); err != nil && !postgres.Unavailable(err) {
		return err
	}
	go outbox.KeepPartitions(ctx, db, log)

	d := dispatch.New(db, sender, box, dispatch.Settings{
		Name:         processName(),
		Concurrency:  cfg.DispatchConcurrency,
		PerEndpoint:  cfg.DispatchPerEndpoint,
		PollInterval: cfg.DispatchPollInterval,
		Grace:        cfg.ShutdownGrace,
		Retry: dispatch.Schedule{
			Initial: cfg.RetryInitial, Multiplier: cfg.RetryMultiplier, Max: cfg.RetryMaxInterval, Jitter: cfg.RetryJitter,
		},
		Breaker: outbox.BreakerPolicy{
			Failures: cfg.BreakerFailures, FirstOpen: cfg.BreakerFirstOpen, MaxOpen: cfg.BreakerMaxOpen, DisableAfter: cfg.DisableAfter,
		},
	}, log)
	admin.ServeMetrics(metrics(d.Counters())...)
	if cfg.DispatchListen {
		go func() {
			if err := outbox.Listen(ctx, string(cfg.DatabaseDirectURL), log, d.Heard); err != nil {
				log.Error("no hints, polling goes on", slog.Any(telemetry.ErrorKey, err))
			}
		}()
	}
	log.Info("dispatcher ready", slog.Int("concurrency", cfg.DispatchConcurrency), slog.Duration("poll_interval", cfg.DispatchPollInterval))
	err = d.Run(ctx, abort)
	log.Info("dispatcher stopped")
	return err
}

// metrics are the counters of the dispatcher.
func metrics(c *dispatch.Counters) []telemetry.Counter {
	return []telemetry.Counter{
		{
			Name:  "sonicus_late_results_total",
			Help:  "Results that came after their lease had been taken over: recorded in sonicus.late_results, never applied.",
			Value: func() float64 { return float64(c.LateResults.Load()) },
		},
		{
			Name:  "sonicus_duplicate_sends_total",
			Help:  "Attempts at deliveries whose earlier lease had ended without a result: the receiver may have been sent them before.",
			Value: func() float64 { return float64(c.DuplicateSends.Load()) },
		},
		{
			Name:  "sonicus_replayed_deliveries_total",
			Help:  "Deliveries made by replays: the receiver may have been sent their events before. Each names its replay.",
			Value: func() float64 { return float64(c.ReplayedDeliveries.Load()) },
		},
	}
}

func outbound(cfg config.Config, log *slog.Logger) (*webhook.Sender, *secret.Box, error) {
	keys, err := secret.ParseKeys(string(cfg.EncryptionKeys))
	if err != nil {
		return nil, nil, fmt.Errorf("SONICUS_ENCRYPTION_KEYS: %w", err)
	}
	box, err := secret.NewBox(keys)
	if err != nil {
		return nil, nil, err
	}
	options := webhook.Options{
		CAFile: cfg.EgressCAFile, Proxy: cfg.EgressProxy(), Log: log, Idle: cfg.DispatchConcurrency, IdlePerHost: cfg.DispatchPerEndpoint,
		Guard: webhook.NewGuard(webhook.Policy{
			AllowCIDRs: cfg.EgressAllowCIDRs, AllowPorts: cfg.EgressAllowPorts, AllowHTTP: cfg.IsDevelopment(),
			Own: webhook.OwnAddresses(cfg.HTTPAddr, cfg.AdminAddr),
		}),
	}
	if options.Proxy != nil {
		options.IdlePerHost = options.Idle // the proxy is the one host of plain http
	}
	sender, err := webhook.NewSender(options)
	return sender, box, err
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

// processName tells dispatchers apart in the log of attempts.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}
