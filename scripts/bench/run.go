package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// measureAll opens the lab, measures the rows, cleans up, and prints the table.
func measureAll(ctx context.Context, o options, stdout, stderr io.Writer) error {
	told := stdout
	if o.json {
		told = stderr
	}
	l := &lab{progress: newProgress(told), options: o, pace: paceOf(o)}
	results, err := l.measureRows(ctx)
	err = l.end(ctx, err)
	if o.json {
		err = errors.Join(err, writeJSON(stdout, report{Quick: o.quick, Machine: machine(), Rows: results}))
	} else if len(results) > 0 {
		fmt.Fprintf(stdout, "\n%s%s\n\n", machine(), caveat(o))
		writeTable(stdout, results)
	}
	return errors.Join(err, unmeasured(results))
}

// end cleans up, and adds to what went wrong before.
func (l *lab) end(ctx context.Context, err error) error {
	l.step("cleaning up")
	err = errors.Join(err, l.close())
	l.wipe()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

func machine() string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

func caveat(o options) string {
	switch {
	case o.quick:
		return "; a smoke run, whose figures mean nothing"
	case o.profile != "":
		return "; one slice, under the profiler"
	default:
		return ""
	}
}

func unmeasured(results []result) error {
	var names []string
	for _, r := range results {
		if r.Error != "" {
			names = append(names, r.Row)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("not measured: %s", strings.Join(names, ", "))
}

// rowLimit bounds a row, whatever hangs in it.
const rowLimit = 10 * time.Minute

func (l *lab) measureRows(ctx context.Context) (results []result, err error) {
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	for _, row := range l.rows {
		l.say("%s: %s", row.name, row.what)
		results = append(results, l.measureRow(ctx, row))
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
	}
	return results, nil
}

func (l *lab) measureRow(ctx context.Context, row row) result {
	began := time.Now()
	var r result
	err := l.bounded(ctx, func(ctx context.Context) (err error) {
		r, err = row.measure(ctx, l)
		return err
	})
	r.Row, r.What, r.Target = row.name, row.what, row.target
	r.Seconds = time.Since(began).Round(time.Second / 10).Seconds()
	if err != nil {
		r.Error, r.Figure, r.Met = err.Error(), "", false
		l.say("%s could not be measured: %v", row.name, err)
		return r
	}
	l.say("%s: %s (target %s)", row.name, r.Figure, row.target)
	return r
}

// bounded does something within rowLimit, and undoes what it has set up.
func (l *lab) bounded(ctx context.Context, do func(ctx context.Context) error) error {
	keep := len(l.undo)
	ctx, cancel := context.WithTimeoutCause(ctx, rowLimit, fmt.Errorf("not done within %s", rowLimit))
	defer cancel()
	err := do(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if undone := l.unwind(keep); err == nil {
		err = undone
	}
	return err
}
