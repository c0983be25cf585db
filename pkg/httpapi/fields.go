package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
)

// kind is what a JSON value is, as people read it in "must be …, not …".
type kind string

const (
	text    kind = "a string"
	number  kind = "a number"
	boolean kind = "true or false"
	object  kind = "an object"
	array   kind = "an array"
	null    kind = "null"
)

const (
	codeWrongType = "wrong_type"
	invalidUUID   = "must be a UUID such as 123e4567-e89b-12d3-a456-426614174000"
	maxReported   = 100 // errors in one answer
	maxShownName  = 100 // bytes of a name that the caller made up
)

// kindOf tells from its first byte what a valid JSON value is.
func kindOf(raw []byte) kind {
	switch raw[0] {
	case '"':
		return text
	case '{':
		return object
	case '[':
		return array
	case 't', 'f':
		return boolean
	case 'n':
		return null
	default:
		return number
	}
}

// report collects what is wrong with a request.
type report []problem.Field

func (r *report) add(path, code, detail string) {
	if len(*r) < maxReported {
		*r = append(*r, problem.Field{Field: path, Code: code, Detail: detail})
	}
}

// instant reads a time that can be written again: zones reach beyond the years that
// RFC 3339 has, where neither JSON nor the database's driver follow.
func (r *report) instant(path, s, form string) *time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		r.add(path, "invalid_timestamp", form)
		return nil
	}
	if year := at.UTC().Year(); year < 1 || year > 9999 {
		r.add(path, "out_of_range", "use an instant in the years 1 to 9999 (UTC)")
		return nil
	}
	return &at
}

// fields is a JSON object of the request. Each field is taken once, by name and
// type; null is the same as a field that is not there, and so is, beside the
// report, a field of the wrong type.
type fields struct {
	path   string // "" or the object's own path with a dot
	values map[string]json.RawMessage
	names  []string // in the order of the request
	wrong  *report
	inner  []*fields
}

// openObject splits an object that is known to be valid JSON.
func openObject(raw []byte, path string, wrong *report) (*fields, error) {
	f := &fields{path: path, values: map[string]json.RawMessage{}, wrong: wrong}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("read a name: %w", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("read a value: %w", err)
		}
		name, _ := key.(string) // in a valid object it is one
		if _, seen := f.values[name]; seen {
			wrong.add(path+shorten(name), "duplicate_key", "is given more than once")
			continue
		}
		f.values[name], f.names = value, append(f.names, name)
	}
	return f, nil
}

// shorten bounds what an answer repeats of a name that the caller made up.
func shorten(name string) string {
	if len(name) <= maxShownName {
		return name
	}
	return strings.ToValidUTF8(name[:maxShownName], "") + "…"
}

// given lists the fields that are there, whatever they are.
func (f *fields) given() []string {
	return slices.DeleteFunc(slices.Clone(f.names), func(name string) bool { _, there := f.values[name]; return !there })
}

// refuse takes a field that must not be there.
func (f *fields) refuse(name, code, detail string) {
	if _, there := f.values[name]; there {
		delete(f.values, name)
		f.wrong.add(f.path+name, code, detail)
	}
}

// refuseNull takes a field that must not be null.
func (f *fields) refuseNull(name string) {
	if raw := f.values[name]; raw != nil && kindOf(raw) == null {
		f.refuse(name, "required", "cannot be removed: give a value, or leave it out to keep the one it has")
	}
}

// finish reports every field that nobody took and returns all that is wrong.
func (f *fields) finish() []problem.Field {
	for _, name := range f.names {
		if _, left := f.values[name]; left {
			f.wrong.add(f.path+shorten(name), "unknown_field", "is not a field of this request")
		}
	}
	for _, in := range f.inner {
		in.finish()
	}
	return *f.wrong
}

// take returns the raw value of a field if it is there, not null and of the kind.
func (f *fields) take(name string, want kind) json.RawMessage {
	raw := f.values[name]
	delete(f.values, name)
	if raw == nil || kindOf(raw) == null {
		return nil
	}
	return f.only(want, raw, f.path+name)
}

func (f *fields) only(want kind, raw json.RawMessage, path string) json.RawMessage {
	if got := kindOf(raw); got != want {
		f.wrong.add(path, codeWrongType, fmt.Sprintf("must be %s, not %s", want, got))
		return nil
	}
	return raw
}

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

// texts returns an array of strings.
func (f *fields) texts(name string) []string {
	var all []string
	for i, raw := range f.elements(name) {
		path := element(f.path+name, i)
		if s := f.unquote(f.only(text, raw, path), path); s != nil {
			all = append(all, *s)
		}
	}
	return all
}

// object returns an object within this one. One that is not there has no fields:
// whoever needs one of them will say so.
func (f *fields) object(name string) *fields {
	raw := f.take(name, object)
	if raw == nil {
		raw = json.RawMessage("{}")
	}
	return f.enter(raw, f.path+name)
}

// optionalObject returns an object within this one, nil when it is not there.
func (f *fields) optionalObject(name string) *fields {
	raw := f.take(name, object)
	if raw == nil {
		return nil
	}
	return f.enter(raw, f.path+name)
}

// objects returns an array of objects.
func (f *fields) objects(name string) []*fields {
	var all []*fields
	for i, raw := range f.elements(name) {
		path := element(f.path+name, i)
		if raw = f.only(object, raw, path); raw != nil {
			all = append(all, f.enter(raw, path))
		}
	}
	return all
}

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
	case boolean, null:
	}
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

func (f *fields) enter(raw json.RawMessage, path string) *fields {
	in, err := openObject(raw, path+".", f.wrong)
	if err != nil { // cannot be: the whole body is valid JSON
		f.wrong.add(path, codeWrongType, "cannot be read")
		return &fields{wrong: f.wrong}
	}
	f.inner = append(f.inner, in)
	return in
}

func (f *fields) elements(name string) []json.RawMessage {
	raw := f.take(name, array)
	if raw == nil {
		return nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil { // cannot be: the whole body is valid JSON
		f.wrong.add(f.path+name, codeWrongType, "cannot be read")
	}
	return all
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
