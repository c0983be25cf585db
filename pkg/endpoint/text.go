package endpoint

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sonicus/webhooks/pkg/problem"
)

// CheckText holds the rule for every text that people give, here and in package
// organization: valid UTF-8 of at most limit characters, not blank, no control
// characters, no white space around it. It returns what is wrong first, or nil.
// What passes is stored and delivered byte for byte.
func CheckText(field, value string, limit int) []problem.Field {
	if value == "" {
		return wrong(field, "required", "give a value")
	}
	code, detail := textFault(value, limit)
	if code == "" {
		return nil
	}
	return wrong(field, code, detail)
}

// CheckOptionalText is CheckText for a text that may be left out: nil passes,
// an empty text does not, because it says neither "default" nor "none".
func CheckOptionalText(field string, value *string, limit int) []problem.Field {
	switch {
	case value == nil:
		return nil
	case *value == "":
		return wrong(field, "blank", "leave it out instead of sending an empty text")
	default:
		return CheckText(field, *value, limit)
	}
}

func textFault(s string, limit int) (code, detail string) {
	switch {
	// A decoder puts U+FFFD where the bytes were broken: the text is damaged already.
	case !utf8.ValidString(s), strings.ContainsRune(s, utf8.RuneError):
		return "invalid_utf8", "send valid UTF-8, without lone surrogates or replacement characters"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "control_character", "remove control characters such as line breaks, tabs and NUL"
	case !strings.ContainsFunc(s, visible):
		return "blank", "give a value that can be seen"
	case strings.TrimSpace(s) != s:
		return "surrounding_space", "remove the white space at the beginning and the end"
	case utf8.RuneCountInString(s) > limit:
		return "too_long", fmt.Sprintf("use at most %d characters", limit)
	default:
		return "", ""
	}
}

func visible(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }

func wrong(field, code, detail string) []problem.Field {
	return []problem.Field{{Field: field, Code: code, Detail: detail}}
}

// Range is which whole numbers a setting takes.
type Range struct{ Low, High int }

// Advice is what to do about a number outside the range.
func (r Range) Advice() string { return fmt.Sprintf("use a whole number from %d to %d", r.Low, r.High) }

// CheckRange is CheckText for a number that may be left out: nil passes.
func CheckRange(field string, value *int, r Range) []problem.Field {
	if value == nil || (*value >= r.Low && *value <= r.High) {
		return nil
	}
	return wrong(field, "out_of_range", r.Advice())
}
