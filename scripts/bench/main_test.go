package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestWrongUsageIsSaidClearly(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--ratio R9":                 `no row "R9"; the rows are R1, R2, R3, R4, R5, R6, R7, L, W, M`,
		"--ratio R1,":                `no row ""`,
		"--fast":                     "-fast",
		"R1":                         `unexpected "R1"`,
		"raw":                        "needs a URL",
		"--profile out":              "one row",
		"--profile out --ratio R1,W": "one row",
		"--explain --ratio R1":       "--quick alone",
		"--explain --json":           "--quick alone",
		"--explain --profile out":    "--quick alone",
	} {
		var stderr bytes.Buffer
		code := exitCode(run(t.Context(), strings.Fields(line), io.Discard, io.Discard), &stderr)
		if code != 2 || !strings.Contains(stderr.String(), want) || !strings.Contains(stderr.String(), "usage: bench") {
			t.Errorf("bench %s: exit code %d, %q; want 2, %q and the usage", line, code, stderr.String(), want)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-h", "--help"} {
		var stdout bytes.Buffer
		if err := run(t.Context(), []string{flag}, &stdout, io.Discard); err != nil || !strings.Contains(stdout.String(), "--ratio R1,W") {
			t.Errorf("%s: %q, %v", flag, stdout.String(), err)
		}
	}
}

func TestFailuresHaveTheirOwnExitCode(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	if code := exitCode(context.Canceled, &stderr); code != 1 || strings.Contains(stderr.String(), "usage") {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}

func TestRowsArePickedByName(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--ratio", "w, R1", "--quick"})
	if err != nil || rowNames(o.rows) != "W, R1" || !o.quick {
		t.Errorf("%s, %v, %v", rowNames(o.rows), o.quick, err)
	}
	if o, err := parse(nil); err != nil || len(o.rows) != len(allRows()) {
		t.Errorf("%s, %v; want all", rowNames(o.rows), err)
	}
}

func TestPayloadHasItsSize(t *testing.T) {
	t.Parallel()
	if p := payload(uuid.NewString()); len(p) != payloadSize || !strings.HasPrefix(p, `{"event_type"`) {
		t.Errorf("%d bytes: %s", len(p), p)
	}
}

// The ids are those that sonicus.delivery_id makes.
func TestDeliveryIDsAreTheDatabases(t *testing.T) {
	t.Parallel()
	const event, endpoint = "01989c0a-4b2d-7e11-8a5b-1c2d3e4f5a6b", "01989c0a-0000-7abc-9def-001122334455"
	if got, want := deliveryID(event, endpoint), "01989c0a-4b2d-7457-b76a-9e3f380273d6"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLoadedRowsAreDueOneAfterTheOther(t *testing.T) {
	t.Parallel()
	to := time.Now()
	o := load{events: 100, fanout: 1, endpoints: []uuid.UUID{uuid.New(), uuid.New()}, from: to.Add(-100 * time.Microsecond), to: to}
	c := newChunk(o, 20, 50)
	due, lanes := map[any]bool{}, map[any]int{}
	for _, row := range c.queue {
		due[row[2]] = true
		lanes[row[1]]++
	}
	if len(c.events) != 30 || len(c.deliveries) != 30 || len(due) != 30 || len(lanes) != 2 || len(c.attempts) != 0 {
		t.Errorf("%d events, %d deliveries, %d due times, lanes %v", len(c.events), len(c.deliveries), len(due), lanes)
	}
}

func TestSettledRowsHaveAttemptsAndNoQueue(t *testing.T) {
	t.Parallel()
	c := newChunk(load{events: 3, fanout: 2, settled: true, endpoints: []uuid.UUID{uuid.New(), uuid.New()}, to: time.Now()}, 0, 3)
	if len(c.events) != 3 || len(c.deliveries) != 6 || len(c.attempts) != 6 || len(c.queue) != 0 {
		t.Errorf("%d events, %d deliveries, %d attempts, %d queued", len(c.events), len(c.deliveries), len(c.attempts), len(c.queue))
	}
}

func TestPeakMemoryIsRead(t *testing.T) {
	t.Parallel()
	if mib, err := parsePeak("Name:\tdispatcher\nVmPeak:\t 2000000 kB\nVmHWM:\t   65536 kB\nVmRSS:\t   1000 kB\n"); err != nil || mib != 64 {
		t.Errorf("%v MiB, %v; want 64", mib, err)
	}
	if _, err := parsePeak("Name:\tx\n"); err == nil {
		t.Error("a status without the figure was accepted")
	}
}

func TestWALPerDelivery(t *testing.T) {
	t.Parallel()
	from, to := walMark{Records: 100, Images: 10}, walMark{Records: 1300, Images: 20}
	use := perDelivery(from, to, 98_000, 26_000, 100)
	if use != (walUse{bytes: 980, records: 12, images: 0.1, imageBytes: 260}) {
		t.Errorf("%+v", use)
	}
	if s := use.String(); !strings.Contains(s, "980 bytes") || !strings.Contains(s, "260 bytes") {
		t.Error(s)
	}
}
