package secret

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Value is a secret string, for configuration and request fields. However it is
// printed or encoded, it reads "[redacted]"; string(v) is the one way to its content.
// Three ways round it are closed by the reader of the code, not by the type: fmt
// cannot call methods of unexported struct fields, so keep it in exported ones;
// encoding/json writes map keys as they are; the verbs %p and %w, which go vet
// refuses for strings, skip all methods.
type Value string

// Format prints "[redacted]", whatever the verb and flags.
func (Value) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// String returns "[redacted]".
func (Value) String() string { return redacted }

// LogValue keeps the content out of slog.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText keeps the content out of JSON and text encodings.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Last4 returns the last four characters of s, to recognise it by, or nothing when
// s has fewer than 16 characters and four would tell too much.
func Last4(s string) string {
	r := []rune(s)
	if len(r) < 16 {
		return ""
	}
	return string(r[len(r)-4:])
}

// Format prints a Box as its primary key's id, never as its key schedules.
func (b *Box) Format(f fmt.State, _ rune) { fmt.Fprint(f, "Box("+b.primary+")") }
