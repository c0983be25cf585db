package house_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	root      = "../.."
	module    = "github.com/sonicus/webhooks/"
	allowFile = "scripts/imports.allow"
	anyTest   = "*" + testsSuffix

	// testsSuffix marks a line, and a package's key, as that of its _test.go files.
	testsSuffix = " tests"
)

func TestImportsAreTheAllowedOnes(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(root, allowFile))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := parseRules(string(content))
	if err != nil {
		t.Fatal(err)
	}
	used, err := importsOf(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range compare(rules, used) {
		t.Errorf("%s: %s", allowFile, problem)
	}
}

// The list may grow, but not against the rules that it stands for.
func TestAllowedImportsKeepTheArchitecture(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(root, allowFile))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := parseRules(string(content))
	if err != nil {
		t.Fatal(err)
	}
	database := []string{
		"pkg/postgres", "pkg/postgres/pgtest", "pkg/postgres/localpg",
		"pkg/organization", "pkg/endpoint", "pkg/outbox", "pkg/access", "pkg/idempotency",
	}
	for path, owners := range map[string][]string{
		"github.com/jmoiron/sqlx":        database,
		"github.com/lib/pq":              database,
		"github.com/labstack/echo/v4":    {"pkg/httpapi"},
		"github.com/pressly/goose/v3":    {"pkg/postgres"},
		"github.com/cenkalti/backoff/v4": {"pkg/dispatch"},
	} {
		for pkg, allowed := range rules.allowed {
			if slices.Contains(allowed, path) && !slices.Contains(owners, pkg) && !strings.HasSuffix(pkg, testsSuffix) {
				t.Errorf("%s may import %s; only %v may", pkg, path, owners)
			}
		}
	}
	if public := rules.allowed["pkg/signature"]; len(public) > 0 {
		t.Errorf("receivers import pkg/signature, so it stands alone; it may import %v", public)
	}
}

// rules is a parsed imports.allow. Keys are "pkg/x", "pkg/x tests" or anyTest.
type rules struct {
	order   []string // packages from the top down
	allowed map[string][]string
}

func parseRules(text string) (rules, error) {
	r := rules{allowed: map[string][]string{}}
	key := ""
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		list := line
		if !strings.HasPrefix(line, " ") { // else it continues the line before
			name, rest, ok := strings.Cut(line, ":")
			if _, twice := r.allowed[name]; !ok || twice {
				return r, fmt.Errorf("%q: want one line per package, as name: imports", strings.TrimSpace(line))
			}
			key, list = name, rest
			r.allowed[key] = nil
			if !strings.HasSuffix(key, testsSuffix) {
				r.order = append(r.order, key)
			}
		}
		r.allowed[key] = append(r.allowed[key], strings.Fields(list)...)
	}
	return r, nil
}

// importsOf reads the imports of every package of the module, those of
// _test.go files under their own key. It parses files rather than asking the go command,
// so that files for other systems count too and a cached test result notices changes.
func importsOf(repo fs.FS) (map[string][]string, error) {
	used := map[string][]string{}
	err := fs.WalkDir(repo, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipForeign(repo, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		imports, err := importsOfFile(repo, name)
		if err != nil {
			return err
		}
		pkg := path.Dir(name)
		used[pkg] = append(used[pkg], nil...) // a package without imports is a package too
		if strings.HasSuffix(name, "_test.go") {
			pkg += testsSuffix
		}
		for _, path := range imports {
			if !slices.Contains(used[pkg], path) {
				used[pkg] = append(used[pkg], path)
			}
		}
		return nil
	})
	return used, err
}

// skipForeign leaves out what does not belong to the module: hidden folders,
// testdata, and folders with a go.mod of their own.
func skipForeign(repo fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	base := path.Base(dir)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(repo, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// importsOfFile lists imports outside of the standard library, own packages without the module's name.
func importsOfFile(repo fs.FS, name string) ([]string, error) {
	source, err := fs.ReadFile(repo, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
			paths = append(paths, strings.TrimPrefix(path, module))
		}
	}
	return paths, nil
}

// compare returns one sentence per difference between the rules and the code.
func compare(r rules, used map[string][]string) []string {
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(used)) {
		pkg, isTest := strings.CutSuffix(key, testsSuffix)
		if _, listed := r.allowed[pkg]; !listed && !isTest {
			problems = append(problems, pkg+" has no line; add one")
			continue
		}
		allowed := r.allowed[key]
		if isTest {
			allowed = slices.Concat(allowed, r.allowed[pkg], r.allowed[anyTest], []string{pkg})
		}
		for _, path := range used[key] {
			if !slices.ContainsFunc(allowed, covers(path)) {
				problems = append(problems, fmt.Sprintf("%s imports %s, which is not allowed", key, path))
			}
		}
	}
	return append(problems, append(upward(r), stale(r, used)...)...)
}

func covers(path string) func(entry string) bool {
	return func(entry string) bool {
		own := !strings.Contains(entry, ".") // an own package does not include those below it
		return path == entry || (!own && strings.HasPrefix(path, entry+"/"))
	}
}

// upward finds allowed imports of a package whose line is not further down.
func upward(r rules) []string {
	var problems []string
	for i, pkg := range r.order {
		for _, path := range r.allowed[pkg] {
			if own := slices.Index(r.order, path); own >= 0 && own <= i {
				problems = append(problems, fmt.Sprintf("%s may import %s, which is not below it; arrows only go down", pkg, path))
			}
		}
	}
	return problems
}

// stale finds lines of packages that are gone and entries that nothing imports.
func stale(r rules, used map[string][]string) []string {
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(r.allowed)) {
		if _, exists := used[strings.TrimSuffix(key, testsSuffix)]; !exists && key != anyTest {
			problems = append(problems, key+" has a line, but no files; delete it")
			continue
		}
		for _, entry := range r.allowed[key] {
			if !uses(used, key, entry) {
				problems = append(problems, fmt.Sprintf("%s does not import %s; delete the entry", key, entry))
			}
		}
	}
	return problems
}

func uses(used map[string][]string, key, entry string) bool {
	for user, paths := range used {
		if user != key && (key != anyTest || !strings.HasSuffix(user, testsSuffix)) {
			continue
		}
		if slices.ContainsFunc(paths, func(path string) bool { return covers(path)(entry) }) {
			return true
		}
	}
	return false
}

func TestCompareFindsEveryKindOfDifference(t *testing.T) {
	t.Parallel()
	const text = `
# a comment
* tests: example.org/cmp example.org/unused
top: low
    example.org/lib
low: top
low tests: example.org/oracle
gone:
`
	used := map[string][]string{
		"top":       {"low", "example.org/lib/sub", "example.org/library"},
		"low":       nil,
		"low tests": {"low", "top", "example.org/cmp", "example.org/surprise"},
		"new":       {"example.org/anything"},
	}
	r, err := parseRules(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"low tests imports example.org/surprise, which is not allowed",
		"new has no line; add one",
		"top imports example.org/library, which is not allowed",
		"low may import top, which is not below it; arrows only go down",
		"* tests does not import example.org/unused; delete the entry",
		"gone has a line, but no files; delete it",
		"low does not import top; delete the entry",
		"low tests does not import example.org/oracle; delete the entry",
	}
	if diff := cmp.Diff(want, compare(r, used)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRulesFileMistakesAreReported(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"pkg/a pkg/b\n", "pkg/a: x\npkg/a: y\n"} {
		if _, err := parseRules(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
