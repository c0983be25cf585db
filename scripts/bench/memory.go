package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"
)

const (
	memoryLimit     = 128 // MiB
	memoryEndpoints = 16  // twice as many as are needed for 256 in flight, 32 each
	inFlight        = 256 // the shipped limit
)

// measureMemory is M: the most memory that the dispatcher has had (VmHWM) while a
// million deliveries were due and receivers that take 200 ms kept 256 in flight.
func measureMemory(ctx context.Context, l *lab) (result, error) {
	w, err := l.newWorld(ctx, "m")
	if err != nil {
		return result{}, err
	}
	ids, err := w.register(ctx, memoryEndpoints, "slow", attemptTimeout)
	if err != nil {
		return result{}, err
	}
	if err := w.stopAPI(); err != nil {
		return result{}, err
	}
	l.step("loading %s due deliveries", thousands(float64(l.pace.deep)))
	if err := w.pending(ctx, l.pace.deep, ids); err != nil {
		return result{}, err
	}
	if err := w.vacuum(ctx); err != nil {
		return result{}, err
	}
	if err := l.checkpoint(ctx); err != nil {
		return result{}, err
	}
	c, err := w.dispatch(ctx)
	if err != nil {
		return result{}, err
	}
	l.step("delivering with %d in flight", inFlight)
	foreign := l.watch()
	most, err := w.mostInFlight(ctx, c)
	if err != nil {
		return result{}, err
	}
	peak, err := peakMemory(c.cmd.Process.Pid)
	if err != nil {
		return result{}, err
	}
	r := result{
		Figure: fmt.Sprintf("%.0f MiB", peak), Met: peak <= memoryLimit, Values: map[string]float64{"mib": peak, "most_in_flight": float64(most)},
		Foreign: known(foreign()),
	}
	r.note("peak resident memory over %s; up to %d requests seen in flight at the same time, %d endpoints that take %s", l.pace.memory, most, memoryEndpoints, slowAnswer)
	return r, c.stop()
}

// mostInFlight watches the sink for as long as M lasts.
func (w *world) mostInFlight(ctx context.Context, c *child) (most int64, err error) {
	profiled := w.profile(ctx, c)
	for end := time.Now().Add(w.pace.memory); time.Now().Before(end); {
		counts, err := w.counts(ctx)
		if err != nil {
			return 0, err
		}
		most = max(most, counts.InFlight)
		if !waitFor(ctx, 20*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
	if err := profiled(); err != nil {
		return 0, err
	}
	if most < inFlight*3/4 {
		return most, fmt.Errorf("only %d requests were in flight at the same time, want about %d", most, inFlight)
	}
	return most, c.alive()
}

var highWater = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peakMemory is the most resident memory that a process has had, in MiB.
func peakMemory(pid int) (float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("the memory of a process can be read on Linux only: %w", err)
	}
	return parsePeak(string(content))
}

func parsePeak(status string) (float64, error) {
	found := highWater.FindStringSubmatch(status)
	if found == nil {
		return 0, fmt.Errorf("no VmHWM in the status of the process")
	}
	kib, err := strconv.ParseFloat(found[1], 64)
	return kib / 1024, err
}
