package event

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/uuid"
)

// dialect is that of the schemas in the catalogue.
const dialect = "https://json-schema.org/draft/2020-12/schema"

// timestampPattern is [timestampLayout] as a schema has it.
const timestampPattern = `^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$`

// Schema is a JSON Schema that was made from a Go type. It reads the tag json as the
// encoder does: what has omitempty may be missing, and other pointers may be null.
// Further tags are doc (a description), enum (the values that a text takes, separated
// by commas) and format (another than the type's; "-" for none).
type Schema struct {
	Dialect     string     `json:"$schema,omitempty"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Type        any        `json:"type,omitempty"` // a name, or with "null" two
	Const       any        `json:"const,omitempty"`
	Enum        []string   `json:"enum,omitempty"`
	Format      string     `json:"format,omitempty"`
	Pattern     string     `json:"pattern,omitempty"`
	Items       *Schema    `json:"items,omitempty"`
	Required    []string   `json:"required,omitempty"`
	Properties  properties `json:"properties,omitempty"`
	Additional  any        `json:"additionalProperties,omitempty"` // false, or the schema of all members
}

// property is a member of an object.
type property struct {
	name   string
	schema *Schema
}

// properties keep the order of the payload.
type properties []property

// MarshalJSON writes an object.
func (p properties) MarshalJSON() ([]byte, error) {
	members := make([]string, len(p))
	for i, member := range p {
		schema, err := json.Marshal(member.schema)
		if err != nil {
			return nil, fmt.Errorf("encode schema of %s: %w", member.name, err)
		}
		members[i] = fmt.Sprintf("%q:%s", member.name, schema)
	}
	return []byte("{" + strings.Join(members, ",") + "}"), nil
}

// Schema describes the whole payload of an event of the type.
func (d Definition) Schema() *Schema {
	s := schemaOf(reflect.TypeFor[body]())
	s.Dialect, s.Title, s.Description = dialect, d.Type, d.Description
	for _, member := range s.Properties {
		switch member.name {
		case "event_type":
			*member.schema = Schema{Const: d.Type}
		case "data":
			*member.schema = *schemaOf(reflect.TypeOf(d.sample))
		}
	}
	return s
}

// schemaOf describes a type of which payloads are made; any other takes anything.
func schemaOf(t reflect.Type) *Schema {
	switch t {
	case reflect.TypeFor[uuid.UUID]():
		return &Schema{Type: "string", Format: "uuid"}
	case reflect.TypeFor[Timestamp]():
		return &Schema{Type: "string", Format: "date-time", Pattern: timestampPattern}
	}
	switch t.Kind() {
	case reflect.String:
		return &Schema{Type: "string"}
	case reflect.Bool:
		return &Schema{Type: "boolean"}
	case reflect.Int, reflect.Int64:
		return &Schema{Type: "integer"}
	case reflect.Float64:
		return &Schema{Type: "number"}
	case reflect.Slice:
		return &Schema{Type: "array", Items: schemaOf(t.Elem())}
	case reflect.Map:
		return &Schema{Type: "object", Additional: schemaOf(t.Elem())}
	case reflect.Pointer:
		s := schemaOf(t.Elem())
		s.Type = []any{s.Type, "null"}
		return s
	case reflect.Struct:
		return objectOf(t)
	default:
		return &Schema{}
	}
}

func objectOf(t reflect.Type) *Schema {
	s := &Schema{Type: "object", Additional: false}
	for _, field := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			continue // embedded: its fields are visible themselves
		}
		of := field.Type
		if options == "omitempty" && of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if options != "omitempty" {
			s.Required = append(s.Required, name)
		}
		s.Properties = append(s.Properties, property{name, tagged(schemaOf(of), field.Tag)})
	}
	return s
}

// tagged adds what a field's tags say.
func tagged(s *Schema, tag reflect.StructTag) *Schema {
	s.Description = tag.Get("doc")
	if values, given := tag.Lookup("enum"); given {
		s.Enum = strings.Split(values, ",")
	}
	if format, given := tag.Lookup("format"); given {
		s.Format = strings.Trim(format, "-")
	}
	return s
}
