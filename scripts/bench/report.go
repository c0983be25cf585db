package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"strings"
	"unicode/utf8"
)

// result is a measured row.
type result struct {
	Row     string             `json:"row"`
	What    string             `json:"what"`
	Target  string             `json:"target"`
	Figure  string             `json:"figure,omitempty"` // as shown
	Best    string             `json:"best,omitempty"`   // best ÷ best, for ratios of slices
	Met     bool               `json:"met"`
	Values  map[string]float64 `json:"values,omitempty"`      // figures by name
	Pairs   [][]float64        `json:"pairs,omitempty"`       // rates of the slices, pair by pair, the ratio's upper side first
	Foreign *float64           `json:"foreign_cpu,omitempty"` // share of the machine that other processes used meanwhile
	Seconds float64            `json:"seconds"`
	Notes   []string           `json:"notes,omitempty"`
	Error   string             `json:"error,omitempty"` // why it could not be measured
}

func (r *result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r result) met() string {
	switch {
	case r.Error != "":
		return "not measured"
	case r.Met:
		return "yes"
	default:
		return "NO"
	}
}

func (r result) foreign() string {
	if r.Foreign == nil {
		return "?"
	}
	return fmt.Sprintf("%.0f %%", 100**r.Foreign)
}

// writeTable prints the rows for people, their notes below.
func writeTable(w io.Writer, results []result) {
	lines := [][]string{{"", "what", "target", "figure", "best/best", "met?", "other CPU"}}
	for _, r := range results {
		lines = append(lines, []string{r.Row, r.What, r.Target, r.Figure, r.Best, r.met(), r.foreign()})
	}
	writeColumns(w, lines)
	for _, r := range results {
		if len(r.Notes)+len(r.Error) > 0 {
			fmt.Fprintln(w)
		}
		for _, note := range r.Notes {
			fmt.Fprintf(w, "%s: %s\n", r.Row, note)
		}
		if r.Error != "" {
			fmt.Fprintf(w, "%s could not be measured: %s\n", r.Row, r.Error)
		}
	}
}

// writeColumns aligns cells; all lines have as many.
func writeColumns(w io.Writer, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, cells := range lines {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, cells := range lines {
		var b strings.Builder
		for i, cell := range cells {
			b.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// report is the JSON document.
type report struct {
	Quick   bool     `json:"quick"` // its figures mean nothing
	Machine string   `json:"machine"`
	Rows    []result `json:"rows"`
}

// writeJSON leaves out what is not a number, which JSON cannot hold.
func writeJSON(w io.Writer, r report) error {
	for _, row := range r.Rows {
		maps.DeleteFunc(row.Values, func(_ string, v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// thousands writes a whole number with commas.
func thousands(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "?"
	}
	digits := fmt.Sprintf("%.0f", math.Abs(v))
	var b strings.Builder
	if v <= -0.5 {
		b.WriteByte('-')
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
