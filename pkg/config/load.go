package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"github.com/sonicus/webhooks/pkg/secret"
)

// Problem is one setting that cannot be used. It never holds a secret's value.
type Problem struct {
	Name string // the setting, or its …_FILE form
	Text string // what is wrong, and what to write
}

// Error reads as one sentence, beginning with the setting's name.
func (p *Problem) Error() string { return p.Name + " " + p.Text }

// Load reads the settings of one binary through getenv (os.Getenv, or a map's
// in tests). An empty value is the same as an absent one, and space around a
// value is ignored. The error joins every [*Problem] found, so that one start
// shows all of them; the Config is filled as far as it could be read.
//
// With names in only, problems of other settings are left out: `api migrate`
// needs the database and nothing else.
func Load(getenv func(string) string, binary Binary, only ...string) (Config, error) {
	cfg := Config{Binary: binary, sources: map[string]string{}}
	values := map[string]string{}
	var problems []*Problem
	for _, f := range fieldsOf(binary) {
		value, source, p := f.lookup(getenv)
		switch {
		case p != nil:
			problems = append(problems, p)
		case value != "":
			values[f.name], cfg.sources[f.name] = value, source
		case binary == Dispatcher && f.tag.Get("dispatcher") != "":
			values[f.name] = f.tag.Get("dispatcher")
		}
	}
	problems = append(problems, cfg.parse(values)...)
	cfg.setDependentDefaults()
	problems = append(problems, cfg.validate(namesOf(problems))...)
	return cfg, join(problems, only)
}

// parse fills the struct from values, keyed by setting name.
func (c *Config) parse(values map[string]string) []*Problem {
	err := env.ParseWithOptions(c, env.Options{Environment: values, FuncMap: parsers()})
	if err == nil {
		return nil
	}
	aggregate, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return []*Problem{{Name: "environment", Text: err.Error()}}
	}
	problems := make([]*Problem, 0, len(aggregate.Errors))
	for _, err := range aggregate.Errors {
		problems = append(problems, parseProblem(err, values))
	}
	return problems
}

// setDependentDefaults fills the settings whose default is another setting.
func (c *Config) setDependentDefaults() {
	if c.DatabaseDirectURL == "" {
		c.DatabaseDirectURL = c.DatabaseURL
	}
	if c.sources["SONICUS_DISPATCH_PER_ENDPOINT"] == "" && c.DispatchConcurrency > 0 {
		c.DispatchPerEndpoint = min(c.DispatchPerEndpoint, c.DispatchConcurrency)
	}
}

// field is one setting as its struct tags describe it.
type field struct {
	goName string
	name   string
	secret bool
	typ    reflect.Type
	tag    reflect.StructTag
	index  int
}

// fieldsOf lists the settings that a binary reads; "" lists all.
func fieldsOf(binary Binary) []field {
	var fields []field
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		sf := t.Field(i)
		name := sf.Tag.Get("env")
		only := Binary(sf.Tag.Get("only"))
		if name == "" || name == "-" || (only != "" && binary != "" && only != binary) {
			continue
		}
		isSecret := sf.Type == reflect.TypeFor[secret.Value]()
		fields = append(fields, field{sf.Name, name, isSecret, sf.Type, sf.Tag, i})
	}
	return fields
}

// lookup finds a setting's raw text and the name it came from. The alias is
// asked last, because platforms set it without being asked to.
func (f field) lookup(getenv func(string) string) (value, source string, p *Problem) {
	value = strings.TrimSpace(getenv(f.name))
	if f.secret {
		path := getenv(f.name + "_FILE")
		switch {
		case value != "" && path != "":
			return "", "", &Problem{f.name, fmt.Sprintf("and %s_FILE are both set; keep one of them", f.name)}
		case path != "":
			value, p = readSecret(f.name+"_FILE", path)
			return value, f.name + "_FILE", p
		}
	}
	if alias := f.tag.Get("alias"); value == "" && alias != "" {
		return strings.TrimSpace(getenv(alias)), alias, nil
	}
	return value, f.name, nil
}

// readSecret returns a secret file's text without the newline that editors and
// `echo` leave at its end.
func readSecret(name, path string) (string, *Problem) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", &Problem{name, fmt.Sprintf("cannot be read (%v); write the path of a readable file", err)}
	}
	value := strings.TrimSpace(string(content))
	if value == "" {
		return "", &Problem{name, fmt.Sprintf("names an empty file, %s; put the secret into it", path)}
	}
	return value, nil
}

// namesOf tells which settings already have a problem, so that the checks
// do not report a value that could not even be read a second time.
func namesOf(problems []*Problem) map[string]bool {
	names := map[string]bool{}
	for _, p := range problems {
		names[strings.TrimSuffix(p.Name, "_FILE")] = true
	}
	return names
}

func join(problems []*Problem, only []string) error {
	var errs []error
	for _, p := range problems {
		if len(only) == 0 || slices.Contains(only, strings.TrimSuffix(p.Name, "_FILE")) {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}
