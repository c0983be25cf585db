package db_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// rowOfTables is a row of README.md's list, which may be about several tables.
var rowOfTables = regexp.MustCompile("(?m)^\\| ((?:`[a-z_]+`(?:, )?)+) \\| .+ \\| `pkg/[a-z]+` \\|$")

func TestListOfTablesHasEveryTable(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range rowOfTables.FindAllStringSubmatch(string(readme), -1) {
		listed = append(listed, strings.Split(strings.Trim(row[1], "`"), "`, `")...)
	}
	slices.Sort(listed)
	var tables []string
	for _, name := range relations(t, pgtest.New(t)) {
		switch {
		case strings.HasPrefix(name, "webhook_"): // a view
			if !strings.Contains(string(readme), "`"+name+"`") {
				t.Errorf("nothing is said of the view %s", name)
			}
		case name != "goose_db_version":
			tables = append(tables, name)
		}
	}
	if diff := cmp.Diff(tables, listed); diff != "" {
		t.Errorf("(-there +listed)\n%s", diff)
	}
}
