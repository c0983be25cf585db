package telemetry_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/telemetry"
)

func TestLogsOneParseableLineWhateverIsLogged(t *testing.T) {
	t.Parallel()
	hostile := "a\r\n{\"level\":\"ERROR\"}\x1b[31mred\x00\u2028"
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			telemetry.NewLogger(&out, slog.LevelInfo, format).Info(hostile, "domain", hostile)
			if got := strings.Count(out.String(), "\n"); got != 1 {
				t.Errorf("%d lines, want 1: %q", got, out.String())
			}
			if strings.ContainsAny(out.String(), "\r\x1b\x00") {
				t.Errorf("control characters are not escaped: %q", out.String())
			}
		})
	}
}

func TestLogsTimesInUTCAndDurationsWithUnit(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	zone := time.FixedZone("east", 5*3600)
	log := telemetry.NewLogger(&out, slog.LevelInfo, "json")
	log.Info("sent", "due_at", time.Date(2026, 1, 2, 3, 4, 5, 0, zone), "took", 1500*time.Millisecond)

	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["due_at"] != "2026-01-01T22:04:05Z" || line["took"] != "1.5s" || !strings.HasSuffix(line["time"], "Z") {
		t.Errorf("got %v", line)
	}
}

func TestLogsNothingBelowTheLevel(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, slog.LevelWarn, "json")
	log.Info("quiet")
	log.Warn("loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "loud") {
		t.Errorf("got %q", got)
	}
}

func TestLogFileGetsWhatStderrGets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sonicus.log")
	if err := os.WriteFile(path, []byte("earlier\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	out, err := telemetry.OpenLog(path, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(out, "now\n"); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(content) != "earlier\nnow\n" || stderr.String() != "now\n" {
		t.Errorf("file %q, stderr %q", content, stderr.String())
	}
}

func TestLogFileThatFailsKeepsStderr(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	out, err := telemetry.OpenLog(filepath.Join(t.TempDir(), "sonicus.log"), &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil { // from here on every write to the file fails
		t.Fatal(err)
	}
	if _, err := io.WriteString(out, "still here\n"); err == nil {
		t.Error("the failed file write was not reported")
	}
	if stderr.String() != "still here\n" {
		t.Errorf("stderr %q", stderr.String())
	}
}

func TestLogFileInMissingFolderFailsAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "sonicus.log")
	if _, err := telemetry.OpenLog(path, io.Discard); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names %s", err, path)
	}
}

func TestWithoutLogFileOnlyStderr(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	out, err := telemetry.OpenLog("", &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(out, "line\n"); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil || stderr.String() != "line\n" {
		t.Errorf("close: %v, stderr %q", err, stderr.String())
	}
}
