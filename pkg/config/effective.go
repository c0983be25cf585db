package config

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sonicus/webhooks/pkg/secret"
)

// Setting is one setting as it is in force. Value is safe to print.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`  // "" when unset; of a secret only what identifies it
	Source string `json:"source"` // the variable it was read from, or "default"
}

// Effective lists the settings that cfg's binary reads, with every secret masked.
func Effective(cfg Config) []Setting {
	fields := fieldsOf(cfg.Binary)
	rows := make([]Setting, 0, len(fields))
	for _, f := range fields {
		row := Setting{Name: f.name, Source: cfg.sources[f.name]}
		if row.Source == "" {
			row.Source = "default"
		}
		value := reflect.ValueOf(cfg).Field(f.index).Interface()
		if v, ok := value.(secret.Value); ok {
			row.Value = mask(f.name, string(v))
		} else {
			row.Value = printable(value)
		}
		rows = append(rows, row)
	}
	return rows
}

// WriteEffective prints Effective(cfg) as an aligned table, or as a JSON array.
func WriteEffective(w io.Writer, cfg Config, asJSON bool) error {
	rows := Effective(cfg)
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		value := r.Value
		if value == "" {
			value = "–"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", r.Name, value, r.Source) // Flush reports a failed write
	}
	return table.Flush()
}

func printable(value any) string {
	switch v := value.(type) {
	case slog.Level:
		return strings.ToLower(v.String())
	case time.Duration:
		return short(v)
	default:
		// A list prints as [a b]; show it as it is written: a,b.
		return strings.ReplaceAll(strings.Trim(fmt.Sprint(v), "[]"), " ", ",")
	}
}

// mask keeps of a secret what tells one from another: where a URL leads, and
// which key ids there are.
func mask(name, value string) string {
	switch {
	case value == "":
		return ""
	case strings.HasSuffix(name, "_URL"):
		return maskURL(value)
	case name == "SONICUS_ENCRYPTION_KEYS":
		return maskKeys(value)
	default:
		return "[redacted]"
	}
}

func maskURL(value string) string {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || misread(u, value) {
		return "[redacted]"
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

func maskKeys(value string) string {
	keys, err := secret.ParseKeys(value)
	if err != nil {
		return "[redacted]"
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID + ":[redacted]"
	}
	return strings.Join(ids, ",")
}
