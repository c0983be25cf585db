package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/problem"
)

func TestReplayTakesTimesAndHowLongAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 8, 7, 16, 20, 52, 0, time.UTC)
	f, err := parseReplay([]string{"--since", "36h", "--until", "2025-08-07T12:00:00+02:00", "--status", "sent,failed", "--status", "sent", "--rate", "7", "--dry-run"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if a := f.asked; !a.Since.Equal(now.Add(-36*time.Hour)) || !a.Until.Equal(now.Add(-6*time.Hour-20*time.Minute-52*time.Second)) ||
		strings.Join(a.Statuses, " ") != "sent failed sent" || *a.RateLimit != 7 || !a.DryRun || a.Mode != outbox.ReplayFailed || a.EndpointID != nil {
		t.Errorf("%+v", a)
	}
	for _, wrong := range [][]string{{"--since", "-1h"}, {"--since", "7"}, {"--rate", "7.5"}, {"--rate", "7x"}, {"--endpoint", "7"}, {"--speed", "7"}, {"now"}} {
		if _, err := parseReplay(wrong, now); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

// Who reads the message has typed flags, and knows nothing of the API's fields.
func TestWhatIsWrongWithAReplayIsToldOfItsFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--since 1h --mode missing": "replay: --endpoint: name the endpoint that misses events",
		"":                          "replay: --since: give the time of the first event",
		"--since 1h --mode x --rate 0 --status zz,yy --event-type nope": "replay: --mode: use failed, missing or all; --rate: use a whole number from 1 to 10000; " +
			"--status: use sent or failed: what is pending or retrying is on its way; --event-type: name an event type that exists",
		"--since 1h --until 2h": "replay: --since: must be before until, and in the past",
	} {
		f, err := parseReplay(strings.Fields(args), time.Now())
		if err != nil {
			t.Fatal(args, err)
		}
		err = usageOf(problem.Invalid(f.asked.Check()...))
		if !errors.Is(err, errUsage) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

func TestReplayIsShownInJSONAsTheAPIAnswersIt(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 8, 7, 16, 20, 52, 123456789, time.UTC)
	var out strings.Builder
	if err := reportReplay(&out, outbox.Replay{State: outbox.ReplayRehearsed, Since: at, Until: at.Add(time.Hour), Matched: new(int64(7))}, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"id":null`, `"matched":7`, `"since":"2025-08-07T16:20:52.123456Z"`, `"until":"2025-08-07T17:20:52.123456Z"`, `"reached_at":"`, `"finished_at":null`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in %s", want, out.String())
		}
	}
}

func TestBarShowsDeliveriesOrElseTime(t *testing.T) {
	t.Parallel()
	since := time.Date(2025, 8, 7, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		matched *int64
		created int64
		done    int // tenths
	}{
		"counted": {new(int64(200)), 100, 5}, "more than counted": {new(int64(200)), 300, 10}, "uncounted": {nil, 100, 0}, "nothing to do": {new(int64(0)), 0, 0},
	} {
		r := outbox.Replay{State: outbox.ReplayRunning, Since: since, Until: since.Add(time.Hour), Matched: c.matched, Created: c.created}
		if got := bar(r); strings.Count(got, "#") != c.done*barWidth/10 || len(got) != barWidth+2 {
			t.Errorf("%s: %s", name, got)
		}
		r.State = outbox.ReplayDone
		if got := bar(r); (c.matched == nil || *c.matched == 0) && strings.Contains(got, ".") {
			t.Errorf("%s, done: %s", name, got)
		}
	}
}

func TestNoTerminalNoBar(t *testing.T) {
	t.Parallel()
	if newProgress(io.Discard, false).bar {
		t.Error("a bar for a writer that is no terminal")
	}
}
