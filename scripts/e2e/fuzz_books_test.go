package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// note keeps books, and shows the first requests that found something.
func (f *fuzzer) note(q question, got reply, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := "what is not described"
	if q.op != nil {
		name = q.op.String()
	}
	if f.asked[name] == nil {
		f.asked[name] = map[string]int{}
	}
	f.asked[name][strconv.Itoa(got.status)]++
	if id := got.header.Get("X-Request-Id"); id != "" {
		f.answered[id] = got.status
	}
	if err == nil {
		return
	}
	what := name + ": " + changing.ReplaceAllString(err.Error(), "ID")
	what = what[:min(len(what), 300)]
	f.wrong[what]++
	if f.wrong[what] <= 2 && len(f.wrong) <= 40 {
		f.t.Errorf("%s: %v\nasked: %s\nanswer: %d %s", name, err, q, got.status, shortened(string(got.body)))
	}
}

// checkLines: every line of a log is JSON, and none shows a secret.
func (f *fuzzer) checkLines(p *process) {
	secrets := []string{marker, f.svc.token, tokenSecret, "eyJhbGciOiJIUzI1NiJ9", password(f.t, f.svc.url)}
	for _, line := range p.lines {
		if !json.Valid([]byte(line)) {
			f.t.Errorf("%s: a line of the log is not JSON: %q", p.name, line)
		}
		if slices.ContainsFunc(secrets, func(secret string) bool { return strings.Contains(line, secret) }) {
			f.t.Errorf("%s: a secret is in the log: %s", p.name, line)
		}
	}
}

// checkRequests: every request has one line in the log, with its status.
func (f *fuzzer) checkRequests() {
	seen := map[string]int{}
	for _, line := range f.svc.api.records("request") {
		id, _ := line["request_id"].(string)
		seen[id]++
		if want, known := f.answered[id]; (known && line["status"] != float64(want)) || line["level"] == "ERROR" {
			f.t.Errorf("answered %d, but logged %v", want, line)
		}
	}
	for id := range f.answered {
		if seen[id] != 1 {
			f.t.Errorf("request %s has %d lines in the log", id, seen[id])
		}
	}
}

// checkRows: no secret is stored in the clear, in any table.
func (f *fuzzer) checkRows() {
	var tables []string
	if err := f.svc.db.Select(&tables, `SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'sonicus'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition`); err != nil {
		f.t.Fatal(err)
	}
	for _, table := range tables {
		if n := f.svc.count(`sonicus.`+table+` t WHERE t::text LIKE $1`, "%"+marker+"%"); n > 0 {
			f.t.Errorf("%d rows of %s hold a secret in the clear", n, table)
		}
	}
}

// report says what was asked; an operation that never was is none that was tested.
func (f *fuzzer) report(seed uint64) {
	for _, o := range f.operations {
		if len(f.asked[o.String()]) == 0 {
			f.t.Errorf("%s was not asked for", o)
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f.asked)) {
		fmt.Fprintf(&b, "%-75s", name)
		for _, status := range slices.Sorted(maps.Keys(f.asked[name])) {
			fmt.Fprintf(&b, " %s:%d", status, f.asked[name][status])
		}
		fmt.Fprintln(&b)
	}
	for _, what := range slices.Sorted(maps.Keys(f.wrong)) {
		fmt.Fprintf(&b, "WRONG %d times: %s\n", f.wrong[what], what)
	}
	f.t.Logf("answers by operation, SONICUS_FUZZ_SEED=%d:\n%s", seed, &b)
}
