package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// cluster is one data directory and what belongs to the server on it:
//
//	lock        held while somebody starts, joins or clears away
//	users       a shared lock of each user; who gets it exclusively is alone
//	current     port and lifeline of the running server
//	server.log
//	data/       the server's own
//	run/        the lifelines; writable for the server's user
//	watchdog.sh
type cluster struct {
	template
	dir                string
	durable, exclusive bool
	log                func(string)
}

// running is the content of the file "current".
type running struct {
	Port     int    `json:"port"`
	Lifeline string `json:"lifeline"` // file name below run/
}

func (c *cluster) data() string        { return filepath.Join(c.dir, "data") }
func (c *cluster) logFile() string     { return filepath.Join(c.dir, "server.log") }
func (c *cluster) run(f string) string { return filepath.Join(c.dir, "run", f) }
func (c *cluster) postmaster() int     { return postmasterOf(c.data()) }

func (c *cluster) script() string { return filepath.Join(c.dir, "watchdog.sh") }

func (c *cluster) makeDir() error {
	return errors.Join(c.as.shareDir(c.dir), c.as.mkdir(filepath.Join(c.dir, "run")))
}

// linger is how many seconds the server outlives its last user.
func (c *cluster) linger() string {
	if c.durable || c.exclusive {
		return "0"
	}
	return "2"
}

// use registers this process as a user, without yet holding a lifeline.
func (c *cluster) use(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, "users"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil { // somebody asks just now whether it is alone
			return nil, errors.Join(err, f.Close())
		}
	}
}

// alone says whether nobody uses the cluster at this moment.
func (c *cluster) alone() bool {
	f, err := os.OpenFile(filepath.Join(c.dir, "users"), os.O_RDWR, 0)
	if err != nil {
		return true
	}
	defer unlock(f) //nolint:errcheck // nothing was written
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// prepare makes the data directory good for a start, from the template if it is missing or broken.
func (c *cluster) prepare(ctx context.Context) error {
	if c.usable(c.data(), c.durable) {
		return forgetPostmaster(c.data())
	}
	return c.renew(ctx)
}

func (c *cluster) renew(ctx context.Context) error {
	if err := c.setAside(); err != nil {
		return err
	}
	c.log(fmt.Sprintf("making a new cluster of Postgres %d", c.bin.major))
	return c.copyTo(ctx, c.data(), c.durable)
}

// setAside removes broken data; durable data is kept beside, the last one of it.
func (c *cluster) setAside() error {
	broken := c.data() + ".broken"
	if _, err := os.Stat(filepath.Join(c.data(), "base")); err != nil || !c.durable {
		return os.RemoveAll(c.data())
	}
	c.log("the data directory is broken; keeping it as " + broken)
	return errors.Join(os.RemoveAll(broken), os.Rename(c.data(), broken))
}
