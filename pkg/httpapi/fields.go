package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sonicus/webhooks/pkg/problem"
)

const (
	codeWrongType = "wrong_type"
	invalidUUID   = "must be a UUID such as 123e4567-e89b-12d3-a456-426614174000"
)

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
