package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// What auto_explain tells of a settle: first the statement in the function, then the call.
func toldOfSettle() []string {
	return []string{
		`duration: 3.385 ms  plan:
Query Text: WITH result AS (SELECT 1)
Insert on late_results  (cost=174.93..320.11 rows=4 width=116) (actual time=1.009..1.014 rows=0 loops=1)
  Buffers: shared hit=1024
  CTE told
    ->  Update on deliveries d  (cost=0.29..73.96 rows=0 width=0) (actual time=1.249..1.249 rows=0 loops=1)
          Update on deliveries_20260202 d_1
          Update on deliveries_20260203 d_2
          Buffers: shared hit=1694 read=2 dirtied=19 written=2
          ->  Append  (cost=0.29..73.83 rows=9 width=26) (actual time=0.002..0.002 rows=1 loops=256)
                Subplans Removed: 8
                ->  Index Scan using deliveries_20260202_pkey on deliveries_20260202 d_1  (cost=0.42..8.44 rows=1 width=26) (actual time=0.001..0.001 rows=1 loops=256)
  ->  Append  (cost=0.29..28.95 rows=9 width=28) (never executed)
        ->  Index Scan using attempts_20260202_pkey on attempts_20260202 a_1  (cost=0.29..8.32 rows=1 width=28) (never executed)`,
		`duration: 3.944 ms  plan:
Query Text: SELECT late_delivery_id
FROM sonicus.settle($1)
Function Scan on settle  (cost=0.76..10.76 rows=1000 width=16) (actual time=3.942..3.943 rows=0 loops=1)
  Buffers: shared hit=4518 read=2 dirtied=23 written=6, temp read=7 written=8`,
	}
}

// The topmost step of the statement inside has not seen what its WITH changes.
func TestBuffersAreThoseOfTheWholeCall(t *testing.T) {
	t.Parallel()
	p, err := parsePlan(toldOfSettle())
	if err != nil || p.ms != 3.944 || p.hit != 4518 || p.read != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if !strings.HasPrefix(p.text, "duration: 3.944 ms") || !strings.Contains(p.text, "Insert on late_results") {
		t.Errorf("not the call and then what is inside: %s", p.text)
	}
}

func TestCachedAndUncachedBuffersAreToldApart(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][2]int{
		"  Buffers: shared hit=7":             {7, 0},
		"  Buffers: shared read=8":            {0, 8},
		"  Buffers: shared hit=7 read=8":      {7, 8},
		"  Buffers: shared hit=7 dirtied=9":   {7, 0},
		"  Buffers: shared hit=7, local hit=": {7, 0},
	} {
		p, err := parsePlan([]string{"", "duration: 1.0 ms  plan:\nFunction Scan\n" + line})
		if err != nil || [2]int{p.hit, p.read} != want {
			t.Errorf("%q: hit %d, read %d, %v; want %v", line, p.hit, p.read, err, want)
		}
	}
}

func TestPartitionsThatWereNotReadDoNotCount(t *testing.T) {
	t.Parallel()
	told := toldOfSettle()
	if p, err := parsePlan(told); err != nil || p.partitions != 1 {
		t.Errorf("%d partitions, %v; want that of deliveries alone", p.partitions, err)
	}
	told[0] = strings.ReplaceAll(told[0], "(never executed)", "(actual time=0.1..0.1 rows=0 loops=1)")
	if p, err := parsePlan(told); err != nil || p.partitions != 2 {
		t.Errorf("%d partitions, %v; want those of deliveries and attempts", p.partitions, err)
	}
}

func TestPlansThatAreMissingOrStrangeAreErrors(t *testing.T) {
	t.Parallel()
	told := toldOfSettle()
	for name, told := range map[string][]string{
		"none":            nil,
		"of the call":     told[1:],
		"without buffers": {told[0], "duration: 1.0 ms  plan:\nFunction Scan"},
		"without time":    {told[0], "Function Scan\n  Buffers: shared hit=1"},
	} {
		if p, err := parsePlan(told); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestHistoriesAreComparedInTheSameSituation(t *testing.T) {
	t.Parallel()
	all := []explained{
		{situation{0, 1}, "load", plan{ms: 1.1, hit: 100}, 1},
		{situation{5_000_000, 1}, "load", plan{ms: 9, hit: 100, read: 25}, 1.5},
		{situation{0, 10_000}, "load", plan{ms: 4, hit: 400}, 4},
		{situation{5_000_000, 10_000}, "load", plan{ms: 5, hit: 400}, 4},
	}
	var out bytes.Buffer
	writeExplained(&out, all)
	var got []string
	for line := range strings.Lines(out.String()) {
		if cells := strings.Fields(line); slices.Contains(cells, "load") {
			got = append(got, strings.Join(cells, " "))
		}
	}
	want := []string{
		"0 settled, 1 endpoint load 256 1.10 1.00 100 0 0",
		"5,000,000 settled, 1 endpoint load 256 9.00 1.50 1.50 100 25 1.25 0",
		"0 settled, 10,000 endpoints load 256 4.00 4.00 400 0 0",
		"5,000,000 settled, 10,000 endpoints load 256 5.00 4.00 1.00 400 0 1.00 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := all[1].file(), "5000000-settled-1-endpoint-load.txt"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestFirstRunsAreNotLookedAt(t *testing.T) {
	t.Parallel()
	var x explainer
	for i := range warmUps + batches {
		ms := float64(100 - i) // the last is the best
		x.runs = append(x.runs, [len(statements)]plan{{ms: ms}, {ms: 2 * ms}, {ms: 3 * ms}})
	}
	all := x.summary(situation{0, 1})
	last := float64(100 - (warmUps + batches - 1))
	if len(all) != 3 || all[0].best != last || all[2].best != 3*last || all[0].ms != last+batches/2 || all[1].statement != "load" {
		t.Errorf("%+v", all)
	}
}

func TestLanesAreAskedFromWhatTheyGaveLast(t *testing.T) {
	t.Parallel()
	seen, unseen := uuid.New(), uuid.New()
	x := explainer{since: map[uuid.UUID]time.Time{seen: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}}
	if got, want := x.bounds([]uuid.UUID{seen, unseen}), `{"2026-01-02 03:04:05.000006Z",-infinity}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
