package localpg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeServer makes a folder with programs that only know a version.
func fakeServer(t *testing.T, root, folder, version string) string {
	t.Helper()
	dir := filepath.Join(root, folder)
	must(t, os.MkdirAll(dir, 0o755))
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	must(t, os.WriteFile(filepath.Join(dir, "postgres"), []byte(script), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "initdb"), []byte(script), 0o755))
	return dir
}

func TestFindsTheRightServer(t *testing.T) {
	t.Parallel()
	_, as := testBinaries(t)
	root := openDir(t)
	nine := fakeServer(t, root, "usr/9/bin", "9.6.24")
	fakeServer(t, root, "usr/15/bin", "15.18 (Debian 15.18-0+deb12u1)")
	newest := fakeServer(t, root, "usr/18/bin", "18beta1")
	onPath := fakeServer(t, root, "opt/pg/bin", "16.2")
	links := filepath.Join(root, "links")
	must(t, os.Mkdir(links, 0o755))
	must(t, os.Symlink(filepath.Join(onPath, "postgres"), filepath.Join(links, "postgres")))
	broken := fakeServer(t, root, "broken/bin", "x")
	usual := []string{filepath.Join(root, "usr", "*", "bin")}
	tests := map[string]struct {
		search search
		want   string
	}{
		"NewestOfTheUsualFolders": {search{folders: usual}, newest},
		"PathFirst":               {search{folders: usual, path: []string{"/nowhere", onPath}}, onPath},
		"PathFollowsLinks":        {search{folders: usual, path: []string{links}}, onPath},
		"TooOldOnPath":            {search{folders: usual, path: []string{nine}}, newest},
		"BrokenOnPath":            {search{folders: usual, path: []string{broken}}, newest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := find(t.Context(), tt.search, as)
			if err != nil || got.dir != tt.want {
				t.Errorf("got %q, %v; want %q", got.dir, err, tt.want)
			}
		})
	}
	t.Run("OnlyTooOld", func(t *testing.T) {
		t.Parallel()
		_, err := find(t.Context(), search{path: []string{nine}}, as)
		if !errors.Is(err, errNoBinaries) || !strings.Contains(err.Error(), "older than 15") {
			t.Errorf("got %v, want %v and why", err, errNoBinaries)
		}
	})
}

func TestSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	_, as := testBinaries(t)
	_, err := findOrInstall(t.Context(), search{cache: t.TempDir()}, as, func(string) {})
	if !errors.Is(err, errNoBinaries) {
		t.Fatalf("got %v, want %v", err, errNoBinaries)
	}
	for _, part := range []string{"install PostgreSQL 15 or newer", "SONICUS_DATABASE_URL", "apt-get", "npm"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not mention %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("not one sentence: %q", err)
	}
}

func TestNPMPackageGetsItsLinks(t *testing.T) {
	t.Parallel()
	pkg := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(pkg, "native", "lib"), 0o755))
	must(t, os.WriteFile(filepath.Join(pkg, "native", "lib", "libpq.so.5.17"), []byte("library"), 0o644))
	describe := func(target string) {
		content := `[{"source":"native/lib/libpq.so.5.17","target":"` + target + `"}]`
		must(t, os.WriteFile(filepath.Join(pkg, "native", "pg-symlinks.json"), []byte(content), 0o644))
	}
	describe("native/lib/libpq.so.5")
	for range 2 { // a second time is no harm
		must(t, linkLibraries(pkg))
	}
	got, err := os.ReadFile(filepath.Join(pkg, "native", "lib", "libpq.so.5"))
	if err != nil || string(got) != "library" {
		t.Errorf("got %q, %v", got, err)
	}
	describe("../../outside")
	if err := linkLibraries(pkg); err == nil {
		t.Error("made a link outside of the package")
	}
}

func TestPackageIsToldToMakeNoClusterWhileItInstalls(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "createcluster.d")
	undo, err := refuseSystemCluster(dir)
	must(t, err)
	files, err := filepath.Glob(filepath.Join(dir, "*.conf"))
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("got %q, want one setting", files)
	}
	content, err := os.ReadFile(files[0])
	must(t, err)
	if !strings.Contains(string(content), "create_main_cluster = false") {
		t.Errorf("got %q", content)
	}
	undo()
	if _, err := os.Stat(files[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the setting outlives the installation: %v", err)
	}
}
