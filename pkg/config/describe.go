package config

import (
	"fmt"
	"strings"
)

// Description is one setting as a person should know it.
type Description struct {
	Name    string // SONICUS_…
	Alias   string // a second name, or ""
	Default string // "" when there is none
	ReadBy  string // "both", "api" or "dispatcher"
	Meaning string // one line, without a full stop
	Secret  bool   // also read from the file named by Name+"_FILE"; never printed
}

// Describe lists all settings in the order in which they are documented.
func Describe() []Description {
	fields := fieldsOf("")
	rows := make([]Description, 0, len(fields))
	for _, f := range fields {
		row := Description{
			Name: f.name, Alias: f.tag.Get("alias"), Default: f.defaultText(),
			ReadBy: "both", Meaning: f.tag.Get("meaning"), Secret: f.secret,
		}
		if only := f.tag.Get("only"); only != "" {
			row.ReadBy = only
		}
		rows = append(rows, row)
	}
	return rows
}

func (f field) defaultText() string {
	if shown := f.tag.Get("shown"); shown != "" {
		return shown
	}
	if dispatcher := f.tag.Get("dispatcher"); dispatcher != "" {
		return fmt.Sprintf("api %s, dispatcher %s", f.tag.Get("envDefault"), dispatcher)
	}
	return f.tag.Get("envDefault")
}

// MarkdownTable is the settings table of the README.
func MarkdownTable() string {
	var b strings.Builder
	b.WriteString("| name | default | read by | meaning |\n|---|---|---|---|\n")
	for _, d := range Describe() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", d.names(), d.defaultCell(), d.ReadBy, d.Meaning)
	}
	return b.String()
}

func (d Description) names() string {
	names := "`" + d.Name + "`"
	if d.Secret {
		names += "<br>`" + d.Name + "_FILE`"
	}
	if d.Alias != "" {
		names += "<br>`" + d.Alias + "`"
	}
	return names
}

func (d Description) defaultCell() string {
	if d.Default == "" {
		return "–"
	}
	return "`" + d.Default + "`"
}
