package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/config"
	"github.com/sonicus/webhooks/pkg/httpapi"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/telemetry"
)

func migrate(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("%w: migrate up, migrate status or migrate down", errUsage)
	}
	cfg, err := config.Load(getenv, config.API, "SONICUS_DATABASE_URL", "SONICUS_DATABASE_DIRECT_URL")
	if err != nil {
		return err
	}
	url := string(cfg.DatabaseDirectURL)
	switch args[0] {
	case "up":
		if err := postgres.Migrate(ctx, url, telemetry.NewLogger(stderr, cfg.LogLevel, config.FormatText)); err != nil {
			return err
		}
		_, err = fmt.Fprintln(stdout, "the schema is up to date")
		return err
	case "down":
		undone, err := postgres.MigrateDown(ctx, url)
		if err != nil {
			return err
		}
		if undone == "" {
			undone = "nothing"
		}
		_, err = fmt.Fprintln(stdout, "taken back:", undone)
		return err
	case "status":
		return migrationStatus(ctx, url, stdout)
	}
	return fmt.Errorf("%w: migrate %q", errUsage, args[0])
}

// migrationStatus fails when something is pending, so that it can serve as a check.
func migrationStatus(ctx context.Context, url string, stdout io.Writer) error {
	db, err := postgres.Connect(ctx, url, postgres.Options{Application: "sonicus-migrate", MaxOpen: 1})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	all, err := postgres.Migrations(ctx, db)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, m := range all {
		state := "pending"
		if m.AppliedAt != nil {
			state = "applied " + m.AppliedAt.UTC().Format(time.RFC3339)
		} else {
			err = postgres.ErrPending
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\n", m.Name, state) // Flush reports a failed write
	}
	return errors.Join(table.Flush(), err)
}

func key(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	if len(args) == 0 || args[0] != "create" {
		return fmt.Errorf("%w: key create --role R --name N [--expires D]", errUsage)
	}
	var (
		role, name string
		lifetime   time.Duration
	)
	if err := flags("key create", args[1:], func(f *flag.FlagSet) {
		f.StringVar(&role, "role", "", "super_admin, admin or viewer")
		f.StringVar(&name, "name", "", "what or whom the key is for")
		f.DurationVar(&lifetime, "expires", 0, "lifetime, for example 720h")
	}); err != nil {
		return err
	}
	switch {
	case role == "":
		return fmt.Errorf("%w: key create: --role is required: super_admin, admin or viewer", errUsage)
	case name == "":
		return fmt.Errorf("%w: key create: --name is required: what or whom the key is for", errUsage)
	}
	cfg, err := config.Load(getenv, config.API, "SONICUS_DATABASE_URL")
	if err != nil {
		return err
	}
	db, err := postgres.Connect(ctx, string(cfg.DatabaseURL), postgres.Options{Application: "sonicus-key", MaxOpen: 1})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := postgres.CheckSchema(ctx, db); err != nil {
		return err
	}
	wanted := access.NewKey{Name: name, Role: access.Role(role)}
	if lifetime != 0 {
		wanted.Lifetime = &lifetime
	}
	made, err := access.NewKeys(db, "").Create(ctx, wanted)
	if p, ok := errors.AsType[*problem.Error](err); ok && p.Kind == problem.KindInvalid {
		return fmt.Errorf("%w: key create: %w", errUsage, err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, string(made.Plaintext))
	return err
}

func openAPI(args []string, stdout io.Writer) error {
	if err := flags("openapi", args, func(*flag.FlagSet) {}); err != nil {
		return err
	}
	_, err := io.WriteString(stdout, httpapi.OpenAPI())
	return err
}

func showConfig(args []string, getenv func(string) string, stdout io.Writer) error {
	var asJSON bool
	if err := flags("config", args, func(f *flag.FlagSet) { f.BoolVar(&asJSON, "json", false, "as JSON") }); err != nil {
		return err
	}
	cfg, problems := config.Load(getenv, config.API)
	return errors.Join(config.WriteEffective(stdout, cfg, asJSON), problems)
}

func healthcheck(ctx context.Context, args []string, getenv func(string) string) error {
	if err := flags("healthcheck", args, func(*flag.FlagSet) {}); err != nil {
		return err
	}
	cfg, err := config.Load(getenv, config.API, "SONICUS_ADMIN_ADDR")
	if err != nil {
		return err
	}
	return telemetry.Probe(ctx, cfg.AdminAddr, "/healthz")
}
