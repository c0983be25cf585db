package main

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func sampleResults() []result {
	share := 0.034
	first := result{
		Row: "R1", What: "one ÷ other", Target: "≥ 0.60", Figure: "0.61", Best: "0.63", Met: true, Foreign: &share,
		Values: map[string]float64{"ratio": 0.61, "unknown": math.NaN()},
	}
	first.note("median %s/s", thousands(12345))
	return []result{
		first,
		{Row: "W", What: "bytes", Target: "≤ 1,000", Figure: "1,397"},
		{Row: "M", What: "memory", Target: "≤ 128 MiB", Error: "no /proc"},
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	writeTable(&out, sampleResults())
	want := `
    what         target     figure  best/best  met?          other CPU
R1  one ÷ other  ≥ 0.60     0.61    0.63       yes           3 %
W   bytes        ≤ 1,000    1,397              NO            ?
M   memory       ≤ 128 MiB                     not measured  ?

R1: median 12,345/s

M could not be measured: no /proc
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("got:%s\nwant:%s", got, want)
	}
}

func TestJSONHoldsTheSame(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := writeJSON(&out, report{Rows: sampleResults()}); err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if r := got.Rows[0]; r.Row != "R1" || r.Figure != "0.61" || !r.Met || r.Values["ratio"] != 0.61 || *r.Foreign != 0.034 {
		t.Errorf("%+v", r)
	}
	if strings.Contains(out.String(), "unknown") {
		t.Error("a value that is no number was written")
	}
}

func TestMissedTargetsAreNoErrorAndUnmeasuredRowsAre(t *testing.T) {
	t.Parallel()
	all := sampleResults()
	if err := unmeasured(all[:2]); err != nil {
		t.Errorf("a missed target: %v", err)
	}
	if err := unmeasured(all); err == nil || !strings.Contains(err.Error(), "M") {
		t.Errorf("a row that could not be measured: %v", err)
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 999: "999", 999.6: "1,000", 1234567: "1,234,567", -1234: "-1,234", -0.2: "0", math.Inf(1): "?",
	} {
		if got := thousands(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := thousands(math.NaN()); got != "?" {
		t.Errorf("NaN: %s", got)
	}
}
