package localpg

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	superuser = "sonicus"
	// passwordFile lies in the data directory, so that data and password are copied, and lost, together.
	passwordFile = "sonicus.password"
	// shutDown is the state in pg_control after a clean stop (DB_SHUTDOWNED), stateOffset where it is; both are the
	// same in all versions.
	shutDown, stateOffset = 1, 16
)

// template is a data directory on which no server ever ran. Clusters begin as its copy, which takes a tenth of the time
// of initdb.
type template struct {
	cache    string // keeps the template itself
	clusters string // where its copies go
	bin      binaries
	as       runAs
}

// name tells apart what must not share a directory: server versions, kinds and users.
func (t template) name(kind string) string {
	return "pg" + strconv.Itoa(t.bin.major) + "-" + kind + "-" + strconv.Itoa(t.as.uid)
}

func (t template) path() string { return filepath.Join(t.cache, t.name("template")) }

// lock makes the template's directory and locks it.
func (t template) lock(ctx context.Context) (*os.File, error) {
	if err := t.as.shareDir(t.path()); err != nil {
		return nil, err
	}
	return lockFile(ctx, filepath.Join(t.path(), "lock"))
}

// copyTo makes a fresh data directory. It is complete or not there at all.
func (t template) copyTo(ctx context.Context, data string, durable bool) error {
	lock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock(lock) //nolint:errcheck // nothing was written
	pristine := filepath.Join(t.path(), "data")
	if !t.usable(pristine, false) {
		if err := t.initdb(ctx, pristine); err != nil {
			return fmt.Errorf("initialise Postgres %d: %w", t.bin.major, err)
		}
	}
	fresh, err := t.freshDir(filepath.Dir(data))
	if err != nil {
		return err
	}
	if err := t.as.run(ctx, fresh, "/bin/sh", "-c", `cp -Rp "$1/." "$2/"`, "sh", pristine, fresh); err != nil {
		return err
	}
	if durable {
		if err := t.as.run(ctx, fresh, t.bin.program("initdb"), "--sync-only", "-D", fresh); err != nil {
			return err
		}
	}
	return os.Rename(fresh, data)
}

func (t template) initdb(ctx context.Context, data string) error {
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	fresh, err := t.freshDir(filepath.Dir(data))
	if err != nil {
		return err
	}
	pwfile := fresh + ".password"
	if err := errors.Join(os.WriteFile(pwfile, []byte(rand.Text()+"\n"), 0o600), t.as.own(pwfile)); err != nil {
		return err
	}
	err = t.as.run(ctx, fresh, t.bin.program("initdb"), "-D", fresh, "-U", superuser, "--auth=scram-sha-256",
		"--pwfile="+pwfile, "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if err != nil {
		return err
	}
	return errors.Join(os.Rename(pwfile, filepath.Join(fresh, passwordFile)), os.Rename(fresh, data))
}

// freshDir makes an empty directory to fill and then rename. Its name is new each time: what a killed starter has begun
// may still be written to. That is removed here.
func (t template) freshDir(parent string) (string, error) {
	begun, _ := filepath.Glob(filepath.Join(parent, "new-*"))
	for _, path := range begun {
		_ = os.RemoveAll(path)
	}
	fresh, err := os.MkdirTemp(parent, "new-")
	if err != nil {
		return "", err
	}
	return fresh, t.as.own(fresh)
}

// usable says whether a data directory is whole as far as can be told without starting it. Without fsync only a clean
// stop counts: nothing else promises that the files fit together.
func (t template) usable(data string, durable bool) bool {
	info, err := os.Stat(data)
	if err != nil || ownerOf(info) != t.as.uid {
		return false
	}
	version, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil || strings.TrimSpace(string(version)) != strconv.Itoa(t.bin.major) {
		return false
	}
	if _, err := password(data); err != nil {
		return false
	}
	control, err := os.ReadFile(filepath.Join(data, "global", "pg_control"))
	if err != nil || len(control) < stateOffset+4 {
		return false
	}
	return durable || binary.NativeEndian.Uint32(control[stateOffset:]) == shutDown
}

func password(data string) (string, error) {
	content, err := os.ReadFile(filepath.Join(data, passwordFile))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(content)), nil
}
