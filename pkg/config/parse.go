package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// hint is an error that already says what to write instead.
type hint string

func (h hint) Error() string { return string(h) }

// parsers reads the lists; the parser's own rules do not allow space after a comma.
func parsers() map[reflect.Type]env.ParserFunc {
	return map[reflect.Type]env.ParserFunc{
		reflect.TypeFor[[]netip.Prefix](): func(s string) (any, error) { return list(s, parsePrefix) },
		reflect.TypeFor[[]Origin]():       func(s string) (any, error) { return list(s, parseOrigin) },
		reflect.TypeFor[[]int]():          func(s string) (any, error) { return list(s, parsePort) },
		reflect.TypeFor[time.Duration]():  func(s string) (any, error) { return time.ParseDuration(s) },
	}
}

func list[T any](s string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue // a comma at the end
		}
		v, err := parse(part)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// parsePrefix refuses host bits: 10.1.2.3/8 would silently open all of 10/8.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.Prefix{}, hint(fmt.Sprintf("has %s, an address and not a range; write %s/%d", s, s, addr.BitLen()))
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return prefix, hint(fmt.Sprintf("has %q, which is no address range; write ranges like 10.0.0.0/8,fd00::/8", s))
	}
	if masked := prefix.Masked(); masked != prefix {
		return prefix, hint(fmt.Sprintf("has %s, which points inside a range; write %s or a smaller one", s, masked))
	}
	return prefix, nil
}

// Origin is an address, or a range of them, that webhooks come from.
type Origin netip.Prefix

// String writes a single address without its length.
func (o Origin) String() string {
	if p := netip.Prefix(o); !p.IsSingleIP() {
		return p.String()
	}
	return netip.Prefix(o).Addr().String()
}

func parseOrigin(s string) (Origin, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return Origin(netip.PrefixFrom(addr, addr.BitLen())), nil
	}
	prefix, err := parsePrefix(s)
	return Origin(prefix), err
}

func parsePort(s string) (int, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, hint(fmt.Sprintf("has %q, which is no port; write numbers from 1 to 65535 like 8200,9200", s))
	}
	return int(port), nil
}

// parseProblem turns the parser's error, which names the Go field, into one
// that names the setting. Secrets are plain strings and cannot get here.
func parseProblem(err error, values map[string]string) *Problem {
	failed, ok := errors.AsType[env.ParseError](err)
	if !ok {
		return &Problem{"environment", "cannot be read: " + err.Error()}
	}
	f := fieldNamed(failed.Name)
	if h, ok := errors.AsType[hint](failed.Err); ok {
		return &Problem{f.name, h.Error()}
	}
	return &Problem{f.name, fmt.Sprintf("is %q, which is not %s", values[f.name], wanted(f))}
}

func fieldNamed(goName string) field {
	for _, f := range fieldsOf("") {
		if f.goName == goName {
			return f
		}
	}
	return field{name: goName}
}

func wanted(f field) string {
	example := f.tag.Get("envDefault")
	switch f.typ {
	case reflect.TypeFor[time.Duration]():
		return fmt.Sprintf("a duration; write a number with its unit (ms, s, m, h), like %s", example)
	case reflect.TypeFor[int]():
		return fmt.Sprintf("a whole number; write digits only, like %s", example)
	case reflect.TypeFor[float64]():
		return fmt.Sprintf("a number; write it with a decimal point, like %s", example)
	case reflect.TypeFor[bool]():
		return "true or false; write one of them"
	case reflect.TypeFor[slog.Level]():
		return "a level; write debug, info, warn or error"
	default:
		return fmt.Sprintf("readable; write a value like %s", example)
	}
}
