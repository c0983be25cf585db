// Package telemetry owns what the two programs tell about themselves: the
// structured log, and the admin server that answers whether a program is
// alive and ready.
package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// ErrorKey is the attribute under which every log line carries its error.
const ErrorKey = "error"

// NewLogger writes one line per record to w: JSON, or logfmt-like text when
// format is "text". Times are UTC and durations read like 1.5s. Values are
// escaped in both formats, so nothing that a caller logs can forge a line.
func NewLogger(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// readable writes times in UTC, whatever the host's zone, and durations with
// their unit, because a bare number of nanoseconds is misread.
func readable(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindTime:
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	case slog.KindDuration:
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// OpenLog returns where log lines go: to stderr and, unless path is empty,
// also to the end of that file, which is created readable by its owner and group. Close
// closes the file only. A file that vanishes or fills up later does not keep
// lines from stderr.
func OpenLog(path string, stderr io.Writer) (io.WriteCloser, error) {
	if path == "" {
		return logOutput{stderr: stderr}, nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640) //nolint:gosec // log shippers read it by group
	if err != nil {
		return nil, fmt.Errorf("open the log file: %w", err)
	}
	return logOutput{stderr: stderr, file: file}, nil
}

type logOutput struct {
	stderr io.Writer
	file   *os.File // nil: stderr only
}

func (o logOutput) Write(line []byte) (int, error) {
	_, err := o.stderr.Write(line)
	if o.file != nil {
		_, fileErr := o.file.Write(line)
		err = errors.Join(err, fileErr)
	}
	if err != nil {
		return 0, err
	}
	return len(line), nil
}

func (o logOutput) Close() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}
