package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/sonicus/webhooks/pkg/config"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/telemetry"
)

// errBroken: the books do not agree.
var errBroken = errors.New("the books do not agree")

func verify(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	asJSON := false
	if err := flags("verify", args, func(f *flag.FlagSet) { f.BoolVar(&asJSON, "json", false, "as JSON") }); err != nil {
		return err
	}
	cfg, err := config.Load(getenv, config.Dispatcher, "SONICUS_DATABASE_URL")
	if err != nil {
		return err
	}
	db, err := postgres.Connect(ctx, string(cfg.DatabaseURL), postgres.Options{Application: "sonicus-verify", MaxOpen: 1, Patient: true})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := postgres.CheckSchema(ctx, db); err != nil {
		return err
	}
	broken, err := outbox.Verify(ctx, db)
	if err != nil {
		return err
	}
	if err := report(stdout, broken, asJSON); err != nil {
		return err
	}
	if len(broken) > 0 {
		return errBroken
	}
	return nil
}

func report(w io.Writer, broken []outbox.Violation, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(map[string]any{"ok": len(broken) == 0, "checked": outbox.Invariants(), "violations": broken})
	}
	for _, v := range broken {
		if _, err := fmt.Fprintf(w, "broken: %s: %d rows, for example %s\n", v.Invariant, v.Count, v.Example); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d of %d invariants hold\n", len(outbox.Invariants())-len(broken), len(outbox.Invariants()))
	return err
}

func showConfig(args []string, getenv func(string) string, stdout io.Writer) error {
	asJSON := false
	if err := flags("config", args, func(f *flag.FlagSet) { f.BoolVar(&asJSON, "json", false, "as JSON") }); err != nil {
		return err
	}
	cfg, problems := config.Load(getenv, config.Dispatcher)
	return errors.Join(config.WriteEffective(stdout, cfg, asJSON), problems)
}

func healthcheck(ctx context.Context, args []string, getenv func(string) string) error {
	if err := flags("healthcheck", args, func(*flag.FlagSet) {}); err != nil {
		return err
	}
	cfg, err := config.Load(getenv, config.Dispatcher, "SONICUS_ADMIN_ADDR")
	if err != nil {
		return err
	}
	return telemetry.Probe(ctx, cfg.AdminAddr, "/healthz")
}

// flags parses the flags of a command, which takes no other arguments.
func flags(name string, args []string, define func(*flag.FlagSet)) error {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	define(set)
	if err := set.Parse(args); err != nil {
		return fmt.Errorf("%w: %s: %w", errUsage, name, err)
	}
	if set.NArg() > 0 {
		return fmt.Errorf("%w: %s: unexpected %q", errUsage, name, set.Arg(0))
	}
	return nil
}
