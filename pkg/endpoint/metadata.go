package endpoint

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/sonicus/webhooks/pkg/problem"
)

// maxMetadata is how many bytes of JSON, without white space, an administrator may
// keep beside an endpoint.
const maxMetadata = 16 << 10

// noMetadata is what an endpoint has that was given none.
const noMetadata = "{}"

// checkMetadata takes an object that is valid JSON; nil passes.
func checkMetadata(object json.RawMessage) []problem.Field {
	if len(compact(object)) > maxMetadata {
		return wrong("metadata", "too_large", fmt.Sprintf("use at most %d bytes of JSON", maxMetadata))
	}
	return nil
}

// compact removes white space, so that the same text is compared and shown
// wherever it comes from.
func compact(document json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, document); err != nil {
		return document // not JSON: whoever takes it in will say so
	}
	return b.Bytes()
}

// merge applies a JSON merge patch to an object (RFC 7396 §2). Numbers keep their
// digits.
func merge(object, patch json.RawMessage) (json.RawMessage, error) {
	target, err := decode(object)
	if err != nil {
		return nil, err
	}
	change, err := decode(patch)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // would make it longer than what was given
	if err := enc.Encode(merged(target, change)); err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return b.Bytes(), nil
}

func merged(target, patch any) any {
	change, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into, ok := target.(map[string]any)
	if !ok {
		into = map[string]any{}
	}
	for name, value := range change {
		if value == nil {
			delete(into, name)
		} else {
			into[name] = merged(into[name], value)
		}
	}
	return into
}

func decode(document json.RawMessage) (value any, err error) {
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return nil, fmt.Errorf("decode metadata: %w", err)
	}
	return value, nil
}
