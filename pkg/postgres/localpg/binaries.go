package localpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoBinaries says that no usable Postgres server was found on the machine.
var errNoBinaries = errors.New("no Postgres server found")

var versionPattern = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// binaries is a folder with a server that was seen to run.
type binaries struct {
	dir          string
	major, minor int
}

func (b binaries) program(name string) string { return filepath.Join(b.dir, name) }

// search says where programs are looked for; tests narrow it.
type search struct {
	path    []string // folders that come first, in their order
	folders []string // glob patterns of the usual places, of which the newest wins
	cache   string   // where downloaded binaries are kept
}

func defaultSearch(cache string) search {
	return search{
		path: filepath.SplitList(os.Getenv("PATH")),
		folders: []string{
			"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
			"/usr/pgsql-*/bin",          // Red Hat with the PostgreSQL project's packages
			"/usr/lib*/pgsql/bin",
			"/usr/libexec/postgresql*", // Alpine
			"/usr/local/pgsql/bin",
			"/opt/homebrew/opt/postgresql@*/bin",
			"/usr/local/opt/postgresql@*/bin",
			"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
			"/Applications/Postgres.app/Contents/Versions/*/bin",
			filepath.Join(cache, "npm-*", npmBinaries),
		},
		cache: cache,
	}
}

// look finds a program on the search path.
func (s search) look(program string) (string, bool) {
	for _, dir := range s.path {
		file := filepath.Join(dir, program)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && unix.Access(file, unix.X_OK) == nil {
			return file, true
		}
	}
	return "", false
}

// find returns the first good server of PATH, else the newest of the usual folders. Its error tells which ones were
// seen and refused.
func find(ctx context.Context, s search, as runAs) (binaries, error) {
	onPath, refused := probeAll(ctx, s.onPath(), as)
	if len(onPath) > 0 {
		return onPath[0], nil
	}
	usual, alsoRefused := probeAll(ctx, s.inFolders(), as)
	if len(usual) > 0 {
		return slices.MaxFunc(usual, func(a, b binaries) int {
			return cmp.Or(cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor))
		}), nil
	}
	return binaries{}, fmt.Errorf("%w%s", errNoBinaries, because(append(refused, alsoRefused...)))
}

func probeAll(ctx context.Context, dirs []string, as runAs) (good []binaries, refused []string) {
	for _, dir := range dirs {
		bin, err := probe(ctx, dir, as)
		if err != nil {
			refused = append(refused, err.Error())
			continue
		}
		good = append(good, bin)
	}
	return good, refused
}

func because(refused []string) string {
	if len(refused) == 0 {
		return ""
	}
	return " (" + strings.Join(refused, "; ") + ")"
}

// onPath follows symlinks: the folder that a link points to has initdb too, the one with the link may not.
func (s search) onPath() []string {
	var dirs []string
	for _, dir := range s.path {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err == nil && !slices.Contains(dirs, filepath.Dir(real)) {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	return dirs
}

func (s search) inFolders() []string {
	var dirs []string
	for _, pattern := range s.folders {
		matches, _ := filepath.Glob(filepath.Join(pattern, "postgres"))
		for _, file := range matches {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return dirs
}

// probe runs the server's version as the user who will run it: a binary that lacks a library, or that this user may
// not read, is no use.
func probe(ctx context.Context, dir string, as runAs) (binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, fmt.Errorf("%s has no initdb", dir)
	}
	out, err := as.command(ctx, "/", filepath.Join(dir, "postgres"), "--version").CombinedOutput()
	found := versionPattern.FindStringSubmatch(string(out))
	if err != nil || found == nil {
		return binaries{}, fmt.Errorf("%s does not run as %s: %s", filepath.Join(dir, "postgres"), as.name, lastLines(string(out)))
	}
	major, _ := strconv.Atoi(found[1])
	minor, _ := strconv.Atoi(found[2])
	if major < minVersion {
		return binaries{}, fmt.Errorf("%s is version %d, older than %d", dir, major, minVersion)
	}
	return binaries{dir: dir, major: major, minor: minor}, nil
}
