package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/config"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// errNotReplayed: the replay has ended before its end.
var errNotReplayed = errors.New("the replay has not come to its end")

// replayFlags are what can be said of a replay on the command line.
type replayFlags struct {
	asked        outbox.NewReplay
	cancel       *uuid.UUID
	detach, json bool
}

// replay asks for a replay as the API does, and follows it. It is the running
// dispatchers that do it.
func replay(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	f, err := parseReplay(args, time.Now())
	if err != nil {
		return err
	}
	cfg, err := config.Load(getenv, config.Dispatcher, "SONICUS_DATABASE_URL")
	if err != nil {
		return err
	}
	db, err := postgres.Connect(ctx, string(cfg.DatabaseURL), postgres.Options{Application: "sonicus-replay", MaxOpen: 1})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := postgres.CheckSchema(ctx, db); err != nil {
		return err
	}
	replays := outbox.NewReplays(db)
	if f.cancel != nil {
		canceled, err := replays.Cancel(ctx, *f.cancel)
		if err != nil {
			return err
		}
		return reportReplay(stdout, canceled, f.json)
	}
	r, err := replays.Create(ctx, f.asked)
	if err != nil {
		return usageOf(err)
	}
	if r.ID == uuid.Nil || f.detach {
		return reportReplay(stdout, r, f.json)
	}
	return follow(ctx, replays, r, newProgress(stdout, f.json))
}

// parseReplay reads the flags; now is what durations count back from.
func parseReplay(args []string, now time.Time) (replayFlags, error) {
	var r replayFlags
	err := flags("replay", args, func(f *flag.FlagSet) {
		f.StringVar(&r.asked.Mode, "mode", outbox.ReplayFailed, "")
		f.Func("endpoint", "", intoID(&r.asked.EndpointID))
		f.Func("organization", "", intoID(&r.asked.OrganizationID))
		f.Func("status", "", intoList(&r.asked.Statuses))
		f.Func("event-type", "", intoList(&r.asked.EventTypes))
		f.Func("since", "", intoTime(&r.asked.Since, now))
		f.Func("until", "", intoTime(&r.asked.Until, now))
		f.Func("rate", "", func(s string) error {
			var n int
			if _, err := fmt.Sscanf(s, "%d", &n); err != nil || fmt.Sprint(n) != s {
				return errors.New("give a whole number")
			}
			r.asked.RateLimit = &n
			return nil
		})
		f.BoolVar(&r.asked.DryRun, "dry-run", false, "")
		f.BoolVar(&r.detach, "detach", false, "")
		f.BoolVar(&r.json, "json", false, "")
		f.Func("cancel", "", intoID(&r.cancel))
	})
	return r, err
}

func intoID(to **uuid.UUID) func(string) error {
	return func(s string) error {
		id, err := uuid.Parse(s)
		*to = &id
		return err
	}
}

// intoList takes a flag that may be given several times, or with commas between.
func intoList(to *[]string) func(string) error {
	return func(s string) error {
		*to = append(*to, strings.Split(s, ",")...)
		return nil
	}
}

// intoTime takes a time (RFC 3339), or how long ago it was, such as 24h.
func intoTime(to **time.Time, now time.Time) func(string) error {
	return func(s string) error {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			ago, wrong := time.ParseDuration(s)
			if wrong != nil || ago < 0 {
				return errors.New("give a time such as 2025-08-07T16:20:52Z, or how long ago, such as 24h")
			}
			at = now.Add(-ago)
		}
		*to = &at
		return nil
	}
}

// flagOf is the flag that sets a field of a replay, where it has another name.
var flagOf = map[string]string{
	"endpoint_id": "endpoint", "organization_id": "organization", "statuses": "status", "event_types": "event-type", "rate_limit": "rate",
}

// usageOf makes what is wrong with a replay a matter of the command line.
func usageOf(err error) error {
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || p.Kind != problem.KindInvalid {
		return err
	}
	var lines []string
	for _, f := range p.Fields {
		name, _, _ := strings.Cut(f.Field, "[") // of several values all have the same flag
		lines = append(lines, "--"+cmp.Or(flagOf[name], name)+": "+f.Detail)
	}
	return fmt.Errorf("%w: replay: %s", errUsage, strings.Join(slices.Compact(lines), "; "))
}

func reportReplay(w io.Writer, r outbox.Replay, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r.Shown())
	}
	if r.ID == uuid.Nil {
		_, err := fmt.Fprintf(w, "%s deliveries match; nothing was written\n", matched(r))
		return err
	}
	_, err := fmt.Fprintf(w, "replay %s is %s: %d of %s deliveries made\n", r.ID, r.State, r.Created, matched(r))
	return err
}

func matched(r outbox.Replay) string {
	if r.Matched == nil {
		return "uncounted" // it took too long
	}
	return fmt.Sprint(*r.Matched)
}
