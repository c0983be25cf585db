package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
)

const (
	lookEvery = 500 * time.Millisecond // at a replay that is followed
	lineEvery = 10                     // looks between two lines where there is no terminal
	quiet     = 10 * time.Second       // without progress, after which dispatchers seem to be missing
	barWidth  = 30
)

// follow tells how a replay goes until it ends, or ctx does: then it goes on alone.
func follow(ctx context.Context, replays *outbox.Replays, r outbox.Replay, p *progress) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	moved := time.Now()
	for !r.Over() {
		if err := p.show(r); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return p.leave(r)
		case <-tick.C:
		}
		now, err := replays.Get(ctx, r.ID)
		switch {
		case ctx.Err() != nil:
			return p.leave(r)
		case err != nil:
			return fmt.Errorf("follow replay %s, which goes on: %w", r.ID, err)
		case !now.UpdatedAt.Equal(r.UpdatedAt) || now.State != outbox.ReplayRunning:
			moved = time.Now()
		case time.Since(moved) > quiet:
			moved = time.Now()
			p.note(fmt.Sprintf("no dispatcher has worked on it for %s: this command only asks for it, a running dispatcher does it", quiet))
		}
		r = now
	}
	if err := p.end(r); err != nil {
		return err
	}
	if r.State != outbox.ReplayDone {
		return fmt.Errorf("%w: it is %s", errNotReplayed, r.State)
	}
	return nil
}

// progress shows a replay: as a bar on a terminal, else as lines or JSON.
type progress struct {
	w      io.Writer
	asJSON bool
	bar    bool
	looks  int
	last   string
}

func newProgress(w io.Writer, asJSON bool) *progress {
	return &progress{w: w, asJSON: asJSON, bar: !asJSON && isTerminal(w)}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *progress) show(r outbox.Replay) error {
	p.looks++
	switch {
	case p.bar:
		_, err := fmt.Fprintf(p.w, "\r\x1b[K%s %s %d of %s deliveries made, up to %s", bar(r), r.State, r.Created, matched(r), r.ReachedAt().Format(time.DateTime))
		return err
	case p.looks%lineEvery != 1:
		return nil
	case p.asJSON:
		return json.NewEncoder(p.w).Encode(r.Shown())
	}
	line := fmt.Sprintf("replay %s is %s: %d of %s deliveries made", r.ID, r.State, r.Created, matched(r))
	if line == p.last {
		return nil
	}
	p.last = line
	_, err := fmt.Fprintln(p.w, line)
	return err
}

// bar is how far a replay is: by its deliveries, or by time where they are not counted.
func bar(r outbox.Replay) string {
	done := float64(r.ReachedAt().Sub(r.Since)) / float64(r.Until.Sub(r.Since))
	if r.Matched != nil && *r.Matched > 0 {
		done = float64(r.Created) / float64(*r.Matched)
	}
	n := int(min(max(done, 0), 1) * barWidth)
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", barWidth-n) + "]"
}

// note says something beside. There is no place for it in JSON.
func (p *progress) note(text string) {
	switch {
	case p.asJSON:
	case p.bar:
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s\n", text)
	default:
		_, _ = fmt.Fprintln(p.w, text)
	}
}

func (p *progress) end(r outbox.Replay) error {
	if p.bar {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
	return reportReplay(p.w, r, p.asJSON)
}

// leave is for somebody who does not want to see the end.
func (p *progress) leave(r outbox.Replay) error {
	if err := p.end(r); err != nil {
		return err
	}
	p.note(fmt.Sprintf("it goes on; to end it: dispatcher replay --cancel %s", r.ID))
	return nil
}
