package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// runAs is the user as whom Postgres runs. The server refuses root, so root's server drops to another user.
type runAs struct {
	name     string
	uid, gid int
	drop     bool
}

func serverUser() (runAs, error) {
	if os.Geteuid() != 0 {
		return runAs{name: "the current user", uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if as, ok := lookupUser(name); ok {
			return as, nil
		}
	}
	return runAs{}, errors.New("Postgres refuses to run as root, and there is neither a user postgres nor nobody; add one or run as an ordinary user") //nolint:staticcheck // a name
}

func lookupUser(name string) (runAs, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return runAs{}, false
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return runAs{name: name, uid: uid, gid: gid, drop: true}, uidErr == nil && gidErr == nil && uid > 0
}

// dirMode is for directories that the server's user must pass through.
func (as runAs) dirMode() os.FileMode {
	if as.drop {
		return 0o755
	}
	return 0o700
}

// command prepares a program that runs as the server's user in a directory, with a small environment: PGDATA, PGPORT,
// LC_ALL and their like must not reach the server.
func (as runAs) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if as.drop {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)} //nolint:gosec // ids of an existing user
	}
	return cmd
}

// run runs a program to its end; the error carries what it printed.
func (as runAs) run(ctx context.Context, dir, program string, args ...string) error {
	out, err := as.command(ctx, dir, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, lastLines(string(out)))
	}
	return nil
}

func (as runAs) canEnter(dir string) bool {
	return as.command(context.Background(), "/", "/bin/sh", "-c", `cd "$1"`, "sh", dir).Run() == nil
}

// shareDir makes a directory of ours that the server's user can pass through, whatever the umask is.
func (as runAs) shareDir(dir string) error {
	if err := os.MkdirAll(dir, as.dirMode()); err != nil {
		return err
	}
	return os.Chmod(dir, as.dirMode())
}

// mkdir makes a directory that belongs to the server's user alone.
func (as runAs) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return as.own(dir)
}

func (as runAs) own(path string) error {
	if !as.drop {
		return nil
	}
	return os.Lchown(path, as.uid, as.gid)
}
