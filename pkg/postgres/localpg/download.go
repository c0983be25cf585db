package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// findOrDownloadPooler looks for PgBouncer and downloads it if there is none. Of several at once one downloads.
func findOrDownloadPooler(ctx context.Context, s search, as runAs, log func(string)) (pooler, error) {
	if p, ok := findPooler(ctx, s, as); ok {
		return p, nil
	}
	ctx, cancel := context.WithTimeout(ctx, installLimit)
	defer cancel()
	lock, err := lockFile(ctx, filepath.Join(s.cache, "install.lock"))
	if err != nil {
		return pooler{}, err
	}
	defer unlock(lock) //nolint:errcheck // nothing was written
	if p, ok := findPooler(ctx, s, as); ok {
		return p, nil
	}
	if err := downloadPooler(ctx, s, log); err != nil {
		return pooler{}, fmt.Errorf("no PgBouncer found, and none can be downloaded: %w", err)
	}
	if p, ok := findPooler(ctx, s, as); ok {
		return p, nil
	}
	return pooler{}, errors.New("the PgBouncer that was downloaded does not run")
}

// findPooler tries PATH, the folder of Debian's package, which ordinary users have not in their PATH, and the cache.
func findPooler(ctx context.Context, s search, as runAs) (pooler, bool) {
	own := s.poolerDir()
	libraries, _ := filepath.Glob(filepath.Join(own, "usr", "lib", "*-linux-gnu*"))
	s.path = append(append([]string(nil), s.path...), "/usr/sbin")
	candidates := []pooler{{file: filepath.Join(own, "usr", "sbin", "pgbouncer"), libraries: strings.Join(libraries, ":")}}
	if file, ok := s.look("pgbouncer"); ok {
		candidates = append([]pooler{{file: file}}, candidates...)
	}
	for _, p := range candidates {
		if p.command(ctx, as, "/", p.file, "--version").Run() == nil {
			return p, true
		}
	}
	return pooler{}, false
}

func (s search) poolerDir() string { return filepath.Join(s.cache, "pgbouncer") }

// downloadPooler unpacks the distribution's package, and those it needs that are not installed, into the cache. To
// install it would start a service.
func downloadPooler(ctx context.Context, s search, log func(string)) error {
	apt, hasApt := s.look("apt-get")
	dpkg, hasDpkg := s.look("dpkg-deb")
	if !hasApt || !hasDpkg {
		return errors.New("apt-get and dpkg-deb are not there")
	}
	log("downloading PgBouncer (only this once)")
	into := s.poolerDir()
	fresh := into + ".new"
	packages := filepath.Join(fresh, "packages")
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(into), os.MkdirAll(filepath.Join(packages, "partial"), 0o755)); err != nil { //nolint:gosec // for the server's user
		return err
	}
	if err := aptDownload(ctx, apt, packages, "pgbouncer"); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(packages, "*.deb"))
	for _, file := range files {
		err = errors.Join(err, runTool(ctx, "/", dpkg, "-x", file, fresh))
	}
	if err := errors.Join(err, os.RemoveAll(packages), makeReadable(fresh)); err != nil {
		return fmt.Errorf("unpack PgBouncer: %w", err)
	}
	return os.Rename(fresh, into)
}

// aptDownload gets a package, with what it needs, without changing the system: so it takes no lock and needs no root.
func aptDownload(ctx context.Context, apt, dir, name string) error {
	apart := []string{"-q", "-o", "Debug::NoLocking=1", "-o", "Dir::Cache::archives=" + dir}
	download := []string{"install", "-y", "--no-install-recommends", "--download-only", name}
	if err := runTool(ctx, "/", apt, append(download, apart...)...); err == nil {
		return nil
	}
	lists := filepath.Join(dir, "lists")                                        // a fresh image has none
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil { //nolint:gosec // apt's own mode
		return err
	}
	apart = append(apart, "-o", "Dir::State::Lists="+lists)
	if err := runTool(ctx, "/", apt, append([]string{"update"}, apart...)...); err != nil {
		return err
	}
	return runTool(ctx, "/", apt, append(download, apart...)...)
}
