package httpapi

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/secret"
)

// text returns a string, empty when it is not there.
func (f *fields) text(name string) string {
	if s := f.optionalText(name); s != nil {
		return *s
	}
	return ""
}

func (f *fields) optionalText(name string) *string {
	return f.unquote(f.take(name, text), f.path+name)
}

// unquote refuses text that would not be stored as it was meant: the decoder puts
// U+FFFD where bytes are not UTF-8 and where an escaped surrogate has no partner.
func (f *fields) unquote(raw json.RawMessage, path string) *string {
	if raw == nil {
		return nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil || strings.ContainsRune(s, utf8.RuneError) {
		f.wrong.add(path, "invalid_utf8", "must be valid UTF-8, without lone surrogates or replacement characters")
		return nil
	}
	return &s
}

// texts returns an array of strings, nil when it is not there.
func (f *fields) texts(name string) []string {
	elements := f.elements(name)
	if elements == nil {
		return nil
	}
	all := make([]string, 0, len(elements))
	for i, raw := range elements {
		path := element(f.path+name, i)
		if s := f.unquote(f.only(text, raw, path), path); s != nil {
			all = append(all, *s)
		}
	}
	return all
}

// secrets returns an object of strings, of which null removes one; nil when it is
// not there.
func (f *fields) secrets(name string) map[string]*secret.Value {
	raw := f.take(name, object)
	if raw == nil {
		return nil
	}
	in := f.enter(raw, f.path+name)
	all := make(map[string]*secret.Value, len(in.names))
	for _, member := range in.names {
		all[member] = (*secret.Value)(in.optionalText(member))
	}
	return all
}

// integer returns a whole number as Postgres stores it, in 32 bits. valid is what
// the field takes: a number that does not even fit is refused with it.
func (f *fields) integer(name string, valid endpoint.Range) *int {
	return f.whole(f.take(name, number), f.path+name, valid)
}

// integers returns an array of whole numbers, nil when it is not there.
func (f *fields) integers(name string, valid endpoint.Range) []int {
	elements := f.elements(name)
	if elements == nil {
		return nil
	}
	all := make([]int, 0, len(elements))
	for i, raw := range elements {
		path := element(f.path+name, i)
		if n := f.whole(f.only(number, raw, path), path, valid); n != nil {
			all = append(all, *n)
		}
	}
	return all
}

func (f *fields) whole(raw json.RawMessage, path string, valid endpoint.Range) *int {
	if raw == nil {
		return nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	switch {
	case err == nil:
		v := int(n)
		return &v
	case bytes.ContainsAny(raw, ".eE"):
		f.wrong.add(path, codeWrongType, "must be a whole number, without fraction or exponent")
	default:
		f.wrong.add(path, "out_of_range", valid.Advice())
	}
	return nil
}

// flag returns a boolean, false when it is not there.
func (f *fields) flag(name string) bool {
	raw := f.take(name, boolean)
	return raw != nil && raw[0] == 't'
}

// instant returns a time with its zone.
func (f *fields) instant(name string) *time.Time {
	s := f.optionalText(name)
	if s == nil {
		return nil
	}
	return f.wrong.instant(f.path+name, *s, "must look like 2025-08-07T16:20:52Z (RFC 3339)")
}

func (f *fields) id(name string) *uuid.UUID {
	s := f.optionalText(name)
	if s == nil {
		return nil
	}
	id, ok := parseID(*s)
	if !ok {
		f.wrong.add(f.path+name, "invalid_uuid", invalidUUID)
		return nil
	}
	return &id
}
