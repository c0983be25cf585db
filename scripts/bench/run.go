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
	l.step("cleaning up")
	err = errors.Join(err, l.close())
	l.wipe()
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	machine := fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	if o.json {
		err = errors.Join(err, writeJSON(stdout, report{Quick: o.quick, Machine: machine, Rows: results}))
	} else if len(results) > 0 {
		fmt.Fprintf(stdout, "\n%s%s\n\n", machine, caveat(o))
		writeTable(stdout, results)
	}
	return errors.Join(err, unmeasured(results))
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
	began, keep := time.Now(), len(l.undo)
	ctx, cancel := context.WithTimeoutCause(ctx, rowLimit, fmt.Errorf("not done within %s", rowLimit))
	defer cancel()
	r, err := row.measure(ctx, l)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if undone := l.unwind(keep); err == nil {
		err = undone
	}
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
