package httpapi

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// document returns an object as it is, once all in it can be stored. The database
// has no U+0000 in its texts, and no numbers without bounds.
func (f *fields) document(name string) json.RawMessage {
	raw := f.take(name, object)
	if raw == nil {
		return nil
	}
	before := len(*f.wrong)
	f.inspect(raw, f.path+name)
	if len(*f.wrong) > before {
		return nil
	}
	return raw
}

func (f *fields) inspect(raw json.RawMessage, path string) {
	switch kindOf(raw) {
	case text:
		if s := f.unquote(raw, path); s != nil && strings.ContainsRune(*s, 0) {
			f.wrong.add(path, "control_character", "must not hold U+0000")
		}
	case number:
		if n, err := strconv.ParseFloat(string(raw), 64); err != nil || (n == 0 && bytes.ContainsAny(raw, "123456789")) {
			f.wrong.add(path, "out_of_range", "must be a number that fits into 64 bits of floating point")
		}
	case array:
		var all []json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil { // cannot be: the whole body is valid JSON
			f.wrong.add(path, codeWrongType, "cannot be read")
		}
		for i, e := range all {
			f.inspect(e, element(path, i))
		}
	case object:
		f.inspectObject(raw, path)
	case boolean, null:
	}
}

func (f *fields) inspectObject(raw json.RawMessage, path string) {
	in, err := openObject(raw, path+".", f.wrong)
	if err != nil { // cannot be: the whole body is valid JSON
		f.wrong.add(path, codeWrongType, "cannot be read")
		return
	}
	for _, name := range in.names {
		if strings.ContainsRune(name, 0) || strings.ContainsRune(name, utf8.RuneError) {
			f.wrong.add(path, "invalid_name", "names must be valid UTF-8 without U+0000")
			continue
		}
		f.inspect(in.values[name], path+"."+shorten(name))
	}
}
