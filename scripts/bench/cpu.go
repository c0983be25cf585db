package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpuTimes are clock ticks since the machine started.
type cpuTimes struct {
	busy, total, own uint64
}

// foreignShare is the share of the machine's CPU time between two readings that
// processes other than ours used.
func foreignShare(from, to cpuTimes) float64 {
	total := float64(to.total - from.total)
	if to.total <= from.total {
		return 0
	}
	foreign := float64(to.busy-from.busy) - float64(to.own-from.own)
	return min(max(foreign/total, 0), 1)
}

// parseMachine reads the first line of /proc/stat. Time in interrupts is left
// out of busy: on loopback it is our own traffic, but no process's time. Time that
// the host took away from a virtual machine is foreign, so it is in.
func parseMachine(stat string) (busy, total uint64, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("unexpected first line of /proc/stat: %q", line)
	}
	var ticks [8]uint64 // user nice system idle iowait irq softirq steal; guest time is in user already
	for i := range ticks {
		if ticks[i], err = strconv.ParseUint(fields[i+1], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
		total += ticks[i]
	}
	return ticks[0] + ticks[1] + ticks[2] + ticks[7], total, nil
}

// processTimes is what /proc/<pid>/stat says of one process.
type processTimes struct {
	pid, parent int
	ticks       uint64 // its own and those of its children that have ended
}

func parseProcess(stat string) (processTimes, error) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')') // the name may hold anything
	if open < 0 || end < open {
		return processTimes{}, fmt.Errorf("unexpected process status %q", stat)
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 15 {
		return processTimes{}, fmt.Errorf("short process status %q", stat)
	}
	var p processTimes
	var err error
	if p.pid, err = strconv.Atoi(strings.TrimSpace(stat[:open])); err != nil {
		return p, fmt.Errorf("process status: %w", err)
	}
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return p, fmt.Errorf("process status: %w", err)
	}
	for _, field := range fields[11:15] { // utime stime cutime cstime
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return p, fmt.Errorf("process status: %w", err)
		}
		p.ticks += ticks
	}
	return p, nil
}

// treeTicks adds up the processes below the roots, roots included.
func treeTicks(all []processTimes, roots ...int) (ticks uint64) {
	ours := map[int]bool{}
	for _, root := range roots {
		ours[root] = true
	}
	for again := true; again; { // parents may come after their children
		again = false
		for _, p := range all {
			if ours[p.parent] && !ours[p.pid] {
				ours[p.pid], again = true, true
			}
		}
	}
	for _, p := range all {
		if ours[p.pid] {
			ticks += p.ticks
		}
	}
	return ticks
}

// readCPU reads /proc; it fails where there is none.
func readCPU(roots ...int) (cpuTimes, error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTimes{}, err
	}
	busy, total, err := parseMachine(string(content))
	if err != nil {
		return cpuTimes{}, err
	}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	var all []processTimes
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		if p, err := parseProcess(string(content)); err == nil {
			all = append(all, p)
		}
	}
	return cpuTimes{busy: busy, total: total, own: treeTicks(all, roots...)}, nil
}
