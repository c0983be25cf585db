// Command api serves the REST API: it writes organizations together with their
// webhook deliveries. It also migrates the database and makes API keys.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// version is set by the linker.
var version = "dev"

const usage = `usage: api [command]

  serve                    answer requests (the default)
  migrate up|status|down   bring the schema up to date, show it, take back one step
  key create --role R --name N [--expires D]
                           make an API key and print it, once; R is super_admin, admin or viewer,
                           D a duration such as 720h (default: never expires)
  openapi                  print the description of the API (OpenAPI 3.1, YAML)
  config [--json]          show the effective settings, secrets masked
  healthcheck              ask the running api whether it is alive
  version                  print the version

Settings come from the environment; README.md lists them.
`

// errUsage: the command line is wrong.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr), os.Stderr))
}

func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(stderr, "api: %v\n\n%s", err, usage)
		return 2
	default:
		_, _ = fmt.Fprintln(stderr, "api:", err)
		return 1
	}
}

// run is the program without its process.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if slices.Contains(args, "-h") || slices.Contains(args, "--help") || (len(args) > 0 && args[0] == "help") {
		_, err := fmt.Fprint(stdout, usage)
		return err
	}
	command, rest := "serve", args
	if len(args) > 0 {
		command, rest = args[0], args[1:]
	}
	switch command {
	case "serve":
		return serve(ctx, rest, getenv, stderr)
	case "migrate":
		return migrate(ctx, rest, getenv, stdout, stderr)
	case "key":
		return key(ctx, rest, getenv, stdout)
	case "openapi":
		return openAPI(rest, stdout)
	case "config":
		return showConfig(rest, getenv, stdout)
	case "healthcheck":
		return healthcheck(ctx, rest, getenv)
	case "version":
		_, err := fmt.Fprintln(stdout, version)
		return err
	}
	return fmt.Errorf("%w: there is no command %q", errUsage, command)
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
