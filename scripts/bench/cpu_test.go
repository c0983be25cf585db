package main

import (
	"math"
	"testing"
)

func TestMachineTimesCountWhatWasStolenAndNotInterrupts(t *testing.T) {
	t.Parallel()
	busy, total, err := parseMachine("cpu  100 20 30 800 40 5 5 7 3 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
	if err != nil || busy != 157 || total != 1007 {
		t.Errorf("busy %d of %d, %v; want 157 of 1007", busy, total, err)
	}
	for _, text := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h i"} {
		if _, _, err := parseMachine(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestProcessTimesSurviveStrangeNames(t *testing.T) {
	t.Parallel()
	p, err := parseProcess("42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 10 20 3 4 20 0 9 0 5 6\n")
	if err != nil || p != (processTimes{pid: 42, parent: 7, ticks: 37}) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, text := range []string{"", "42 (x) S 7", "x (y) S 7 1 1 1 1 1 1 1 1 1 10 20 3 4 1", "1 (y) S x 1 1 1 1 1 1 1 1 1 10 20 3 4 1"} {
		if _, err := parseProcess(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestOwnTimeIsThatOfTheWholeTree(t *testing.T) {
	t.Parallel()
	all := []processTimes{
		{pid: 30, parent: 20, ticks: 1}, // a grandchild, listed before its parent
		{pid: 10, parent: 1, ticks: 10},
		{pid: 20, parent: 10, ticks: 100},
		{pid: 50, parent: 1, ticks: 1000},
		{pid: 51, parent: 50, ticks: 10000}, // the server's
		{pid: 60, parent: 1, ticks: 100000}, // somebody else's
	}
	if got := treeTicks(all, 10, 50); got != 11111 {
		t.Errorf("%d ticks, want 11111", got)
	}
}

func TestForeignShare(t *testing.T) {
	t.Parallel()
	from := cpuTimes{busy: 1000, total: 5000, own: 200}
	for name, c := range map[string]struct {
		to   cpuTimes
		want float64
	}{
		"all ours":           {cpuTimes{busy: 1100, total: 5200, own: 300}, 0},
		"half of busy":       {cpuTimes{busy: 1100, total: 5200, own: 250}, 0.25},
		"rounding of clocks": {cpuTimes{busy: 1100, total: 5200, own: 301}, 0},
		"no time at all":     {from, 0},
	} {
		if got := foreignShare(from, c.to); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
