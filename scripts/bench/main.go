// Command bench measures the service's ratios on a private Postgres: what the
// built programs do per second against what the same machine could do at best,
// or with and without something that must not matter. Absolute rates depend on
// the machine; ratios of slices that alternate within one run hardly do.
//
// With --explain it shows the plans of the three statements of every batch
// instead, and what they read, so that anyone can see that their cost depends
// neither on what was settled before nor on how many endpoints have work.
//
// It is a benchmark and no test: a target that is missed is printed, and only a
// row that could not be measured makes it fail. All traffic is loopback. The
// receiver and the client to compare with are this same program in processes of
// their own, so that their work is not the bench's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

const usage = `usage: bench [flags]        measure the ratios and print a table
       bench sink            be the receiver
       bench raw URL...      be the client that the dispatcher is compared with

  --ratio R1,W    only these rows
  --quick         a smoke run: slices of a second, small tables; its figures mean nothing
  --json          print the table as JSON; progress goes to stderr
  --explain       no ratios: the plans of claim, load and settle with none and 5 M settled deliveries in the tables, and with 1 and
                  10,000 endpoints that have something due, as EXPLAIN (ANALYZE, BUFFERS) shows them, in explain beside bench
  --profile DIR   one row, one long slice of each side; write cpu.pprof and heap.pprof of the program under test to DIR

It runs bin/api, bin/dispatcher, bin/bench and bin/bench-river, which make bench builds.
Exit codes: 0 measured, whether the targets are met or not; 1 a row could not be measured; 2 wrong usage.
`

// errUsage: the command line is wrong.
var errUsage = errors.New("wrong usage")

func main() {
	runtime.LockOSThread() // children are told of the death of the thread that started them
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	dieWithParent()
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Stdout, os.Stderr), os.Stderr))
}

func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "bench: %v\n\n%s", err, usage)
		return 2
	default:
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
}

// run is the program without its process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "sink":
			return runSink(ctx, stdout)
		case "raw":
			return runRaw(ctx, args[1:], stdout)
		}
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return nil
	}
	if err != nil {
		return err
	}
	if o.explain {
		return explainAll(ctx, o, stdout)
	}
	return measureAll(ctx, o, stdout, stderr)
}

// options are the command line.
type options struct {
	rows        []row
	json, quick bool
	explain     bool   // plans instead of rows
	profile     string // directory, "" for none
}

func parse(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	names := set.String("ratio", "", "")
	set.BoolVar(&o.json, "json", false, "")
	set.BoolVar(&o.quick, "quick", false, "")
	set.BoolVar(&o.explain, "explain", false, "")
	set.StringVar(&o.profile, "profile", "", "")
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	if set.NArg() > 0 {
		return o, fmt.Errorf("%w: unexpected %q", errUsage, set.Arg(0))
	}
	if o.explain && (*names != "" || o.json || o.profile != "") {
		return o, fmt.Errorf("%w: --explain goes with --quick alone", errUsage)
	}
	var err error
	o.rows, err = rowsNamed(*names)
	if err == nil && o.profile != "" && len(o.rows) != 1 {
		err = fmt.Errorf("%w: --profile takes one row: name it with --ratio", errUsage)
	}
	return o, err
}
