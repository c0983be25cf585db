package webhook

import (
	"encoding/hex"
	"html"
	"strconv"
	"strings"
	"unicode/utf16"
)

// escape is a way to write characters as others.
type escape struct {
	marks string // the characters that begin an escape
	// read is what the escape at the beginning of a text means, and how long it is. One
	// that the end of the text cuts off means nothing.
	read func(text string) (meaning string, size int)
}

// escapes are those by which receivers repeat what they got.
var escapes = []escape{{`\`, readJSON}, {"&", readHTML}, {"%+", readQuery}}

// decode returns the text without its escapes, and where in text each byte of that
// begins, and the end.
func (e escape) decode(text string) (plain string, at []int) {
	var b strings.Builder
	at = make([]int, 0, len(text)+1)
	for i := 0; i < len(text); {
		meaning, size := text[i:i+1], 1
		if strings.IndexByte(e.marks, text[i]) >= 0 {
			meaning, size = e.read(text[i:])
		}
		for range len(meaning) {
			at = append(at, i)
		}
		b.WriteString(meaning)
		i += size
	}
	return b.String(), append(at, len(text))
}

// controls are the letters by which JSON writes control characters.
var controls = map[byte]string{'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t"}

func readJSON(text string) (meaning string, size int) {
	switch {
	case len(text) == 1:
		return "", 1
	case text[1] == 'u':
		return readUnit(text)
	case controls[text[1]] != "":
		return controls[text[1]], 2
	default: // \" \\ \/, and \' in other languages
		return text[1:2], 2
	}
}

// readUnit reads a code unit of UTF-16, \u00e9, or two that make one character.
func readUnit(text string) (meaning string, size int) {
	const long = len(`\u0000`)
	if len(text) < long {
		return "", len(text)
	}
	unit, err := strconv.ParseUint(text[2:long], 16, 16)
	if err != nil {
		return text[:1], 1
	}
	first := rune(unit)
	if utf16.IsSurrogate(first) && len(text) >= 2*long && strings.HasPrefix(text[long:], `\u`) {
		if second, err := strconv.ParseUint(text[long+2:2*long], 16, 16); err == nil {
			return string(utf16.DecodeRune(first, rune(second))), 2 * long
		}
	}
	return string(first), long
}

// readHTML reads a named or numbered character: &quot; &#39; &#x27;.
func readHTML(text string) (meaning string, size int) {
	const longest = len("&#1114111;") // no shorter name is needed for ASCII
	end := strings.IndexByte(text[:min(len(text), longest)], ';') + 1
	if end == 0 {
		if len(text) < longest && strings.Trim(text[1:], "#0123456789ABCDEFabcdefghijklmnopqrstuvwxyz") == "" {
			return "", len(text)
		}
		return text[:1], 1
	}
	if meaning = html.UnescapeString(text[:end]); meaning == text[:end] {
		return text[:1], 1
	}
	return meaning, end
}

// readQuery reads %2F, and the plus sign that stands for a space.
func readQuery(text string) (meaning string, size int) {
	if text[0] == '+' {
		return " ", 1
	}
	const long = len("%00")
	if len(text) < long {
		return "", len(text)
	}
	b, err := hex.DecodeString(text[1:long])
	if err != nil {
		return text[:1], 1
	}
	return string(b), long
}
