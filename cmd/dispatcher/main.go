// Command dispatcher delivers what the api has written: it claims due
// deliveries, signs and POSTs them, and records what happened. Any number of
// dispatchers may run on one database.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// version is set by the linker.
var version = "dev"

const usage = `usage: dispatcher [command]

  run               deliver webhooks (the default)
  verify [--json]   check the books of the database; exit code 1 when one is broken
  replay …          send events again; the running dispatchers do it, see below
  config [--json]   show the effective settings, secrets masked
  healthcheck       ask the running dispatcher whether it is alive
  version           print the version

replay --since T [--until T] [--mode failed|missing|all] [--endpoint ID] [--organization ID]
       [--status S]… [--event-type T]… [--rate N] [--dry-run] [--detach] [--json]
       T is a time (RFC 3339), or how long ago, such as 24h. The replay is followed until
       its end; Ctrl-C, or --detach, leaves it to itself. --dry-run only counts.
replay --cancel ID [--json]

Settings come from the environment; README.md lists them.
SIGTERM drains within SONICUS_SHUTDOWN_GRACE; a second one stops at once.
`

// errUsage: the command line is wrong.
var errUsage = errors.New("wrong usage")

// abortLimit is how long leases may take to be given back after the second signal.
const abortLimit = 3 * time.Second

func main() {
	ctx, abort := signals()
	os.Exit(exitCode(run(ctx, abort, os.Args[1:], os.Getenv, os.Stdout, os.Stderr), os.Stderr))
}

// signals returns a context that ends with the first signal and one that ends
// with the second. Whatever still hangs a little later is cut off.
func signals() (stop, abort context.Context) {
	stop, first := context.WithCancel(context.Background())
	abort, second := context.WithCancel(context.Background())
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-got
		first()
		<-got
		second()
		<-time.After(abortLimit)
		os.Exit(1) //nolint:revive // the way out when the orderly one hangs
	}()
	return stop, abort
}

func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(stderr, "dispatcher: %v\n\n%s", err, usage)
		return 2
	default:
		_, _ = fmt.Fprintln(stderr, "dispatcher:", err)
		return 1
	}
}

// run is the program without its process.
func run(ctx, abort context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if slices.Contains(args, "-h") || slices.Contains(args, "--help") || (len(args) > 0 && args[0] == "help") {
		_, err := fmt.Fprint(stdout, usage)
		return err
	}
	command, rest := "run", args
	if len(args) > 0 {
		command, rest = args[0], args[1:]
	}
	switch command {
	case "run":
		return deliver(ctx, abort, rest, getenv, stderr)
	case "verify":
		return verify(ctx, rest, getenv, stdout)
	case "replay":
		return replay(ctx, rest, getenv, stdout)
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
