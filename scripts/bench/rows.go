package main

import (
	"context"
	"fmt"
	"strings"
)

// row is one line of the table: what is measured, what it should be, and how.
type row struct {
	name, what, target string
	measure            func(ctx context.Context, l *lab) (result, error)
}

// allRows is the table, in the order in which it is measured.
func allRows() []row {
	return []row{
		{"R1", "deliveries/s, signed, settled and logged ÷ plain net/http POSTs/s, 32 at a time", "≥ 0.60, better 0.65", measureRaw},
		{"R2", "deliveries/s with 5 M settled deliveries in the tables ÷ with none", "≥ 0.97", measureHistory},
		{"R3", "deliveries/s at the end of two minutes with a snapshot held open ÷ before", "≥ 0.95", measureSnapshot},
		{"R4", "organizations/s with a matching endpoint ÷ with none, through the API", "≥ 0.70", measureCreate},
		{"R5", "deliveries/s ÷ jobs/s of a River worker that does the same POST", "≥ 2.0", measureRiver},
		{"R6", "healthy endpoints' deliveries/s with 20 % of the endpoints hanging ÷ with none", "≥ 0.95", measureHanging},
		{"R7", "999 endpoints with one due delivery beside one with 1 M: until the 999 are delivered", "≤ 5 s", measureDeepLane},
		{"L", "commit → POST at 50 organizations/s, p50 / p99", "≤ 2.5 / 10 ms", measureLatency},
		{"W", "WAL per delivery, claim to settled", "≤ 1,000 bytes", measureWAL},
		{"M", "the dispatcher's memory with 1 M due and 256 in flight", "≤ 128 MiB", measureMemory},
	}
}

// rowsNamed picks rows by a list such as "R1,W"; "" means all of them.
func rowsNamed(list string) ([]row, error) {
	all := allRows()
	if list == "" {
		return all, nil
	}
	var picked []row
	for name := range strings.SplitSeq(list, ",") {
		found := false
		for _, r := range all {
			if strings.EqualFold(r.name, strings.TrimSpace(name)) {
				picked, found = append(picked, r), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%w: there is no row %q; the rows are %s", errUsage, strings.TrimSpace(name), rowNames(all))
		}
	}
	return picked, nil
}

func rowNames(rows []row) string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	return strings.Join(names, ", ")
}
