package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cacheDir returns the directory that keeps clusters and downloaded binaries, made if need be, with symlinks resolved.
// The server's user must be able to pass through it, which is why root does not use its own home.
func cacheDir(getenv func(string) string, as runAs) (string, error) {
	if dir := getenv("SONICUS_CACHE_DIR"); dir != "" {
		return chosenDir(dir, as)
	}
	var failed error
	for _, dir := range usualCacheDirs(as) {
		err := ownDir(dir, as)
		if err == nil {
			return filepath.EvalSymlinks(dir)
		}
		failed = errors.Join(failed, err)
	}
	return "", fmt.Errorf("no directory for the private Postgres; set SONICUS_CACHE_DIR to one: %w", failed)
}

func usualCacheDirs(as runAs) []string {
	if as.drop {
		return []string{"/var/cache/sonicus-webhooks", "/var/tmp/sonicus-webhooks"}
	}
	shared := filepath.Join(os.TempDir(), "sonicus-webhooks-"+strconv.Itoa(as.uid))
	if dir, err := os.UserCacheDir(); err == nil {
		return []string{filepath.Join(dir, "sonicus-webhooks"), shared}
	}
	return []string{shared} // no home directory
}

// ramDisk is where Linux keeps shared memory as files.
const ramDisk = "/dev/shm"

// clusterDir returns where clusters live: in the cache, except that data which need not last is better off on a RAM
// disk with room. Each test's database is 300 files, made and soon removed, which costs ext4 four times as much.
func clusterDir(getenv func(string) string, cache string, durable bool, as runAs) string {
	if durable || getenv("SONICUS_CACHE_DIR") != "" || !hasRoom(ramDisk) {
		return cache
	}
	dir := filepath.Join(ramDisk, "sonicus-webhooks-"+strconv.Itoa(os.Geteuid()))
	if ownDir(dir, as) != nil {
		return cache
	}
	return dir
}

// hasRoom asks for 2 GiB: containers often have 64 MiB, and Postgres wants some for itself.
func hasRoom(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && uint64(fs.Bsize)*fs.Bavail >= 2<<30 //nolint:gosec // a block size is positive
}

// chosenDir trusts the owner of a directory that was named on purpose.
func chosenDir(dir string, as runAs) (string, error) {
	dir, err := filepath.Abs(dir)
	if _, missing := os.Stat(dir); missing != nil && err == nil {
		err = as.shareDir(dir)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", fmt.Errorf("SONICUS_CACHE_DIR: %w", err)
	}
	if !as.canEnter(dir) {
		return "", fmt.Errorf("SONICUS_CACHE_DIR: the user %s, as whom Postgres runs, cannot enter %s; choose another directory", as.name, dir)
	}
	return dir, nil
}

// ownDir makes dir, and refuses one that somebody else made first: the parent may be writable for everybody.
func ownDir(dir string, as runAs) error {
	if err := os.MkdirAll(dir, as.dirMode()); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || ownerOf(info) != os.Geteuid() {
		return fmt.Errorf("%s belongs to somebody else", dir)
	}
	if err := as.shareDir(dir); err != nil {
		return err
	}
	if !as.canEnter(dir) {
		return fmt.Errorf("the user %s cannot enter %s", as.name, dir)
	}
	return nil
}

// ownerOf returns the user id that owns a file, or -1.
func ownerOf(info os.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// unlock gives a lock back. Closing would be too late: a child process that is just being forked has the file, too.
func unlock(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}

// lockFile takes an exclusive lock on a file, which the kernel gives back when the process ends.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			err = pause(ctx, 20*time.Millisecond)
		}
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("wait for the lock %s: %w", path, err)
		}
	}
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
