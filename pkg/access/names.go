package access

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// reserved are the names that the log and the audit trail have for those who act
// without a key of the table and without a JWT.
var reserved = []string{bootstrapName, commandLine}

// presentable keeps log lines, where names appear, and their readers whole.
func presentable(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= maxName &&
		strings.TrimSpace(name) == name && !strings.ContainsFunc(name, unicode.IsControl)
}

// impersonates reports whether people would read a reserved name: case, width of white
// space and what cannot be seen make no difference to them.
func impersonates(name string) bool {
	seen := strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, name)
	seen = strings.Join(strings.Fields(seen), " ")
	return slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, seen) })
}
