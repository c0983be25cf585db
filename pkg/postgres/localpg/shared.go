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

// startShared joins this user's cluster, or starts it. The lock makes starters take turns: the first starts, the others
// join.
func startShared(ctx context.Context, o Options, t template) (*Server, error) {
	kind := "test"
	if o.Durable {
		kind = "durable"
	}
	c := &cluster{template: t, dir: filepath.Join(t.clusters, t.name(kind)), durable: o.Durable, log: o.Log}
	if err := c.makeDir(); err != nil {
		return nil, fmt.Errorf("make the directory of the private Postgres: %w", err)
	}
	lock, err := lockFile(ctx, filepath.Join(c.dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock(lock) //nolint:errcheck // nothing was written
	users, err := c.use(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.joinOrStart(ctx)
	if err != nil {
		return nil, errors.Join(err, unlock(users))
	}
	s.users = users
	return s, nil
}

func (c *cluster) joinOrStart(ctx context.Context) (*Server, error) {
	s, err := c.join(ctx)
	if !errors.Is(err, errNoServer) {
		return s, err
	}
	if s, err = c.clear(ctx); s != nil || err != nil {
		return s, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	c.log(fmt.Sprintf("starting Postgres %d", c.bin.major))
	return c.start(ctx, 0)
}

// join uses the server that is already running.
func (c *cluster) join(ctx context.Context) (*Server, error) {
	now, ok := c.recorded()
	if !ok {
		return nil, errNoServer
	}
	lifeline, err := joinLifeline(c.run(now.Lifeline))
	if err != nil {
		return nil, err
	}
	secret, err := password(c.data())
	if err != nil {
		return nil, errors.Join(errNoServer, err, lifeline.Close())
	}
	s := &Server{cluster: c, lifeline: lifeline, maintenance: maintenanceURL(now.Port, secret)}
	if err := c.awaitReady(ctx, s, now); err != nil {
		_ = lifeline.Close()
		if ctx.Err() == nil {
			return nil, fmt.Errorf("%w: %w", errNoServer, err)
		}
		return nil, fmt.Errorf("join the running Postgres: %w; its log ends with: %s", err, lastLines(c.logSince(0)))
	}
	return s, nil
}

// clear waits until no server is left on the data directory. One that its watchdog is stopping gets the time for it,
// and is joined after all if the watchdog changes its mind; one that has lost its watchdog is stopped.
func (c *cluster) clear(ctx context.Context) (*Server, error) {
	patience := time.Now().Add(8 * time.Second)
	for pid := c.postmaster(); pid != 0; pid = c.postmaster() {
		if s, err := c.join(ctx); !errors.Is(err, errNoServer) {
			return s, err
		}
		if !c.guarded() || time.Now().After(patience) {
			_ = unix.Kill(pid, unix.SIGQUIT)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("an earlier Postgres (process %d) on %s does not stop: %w", pid, c.data(), err)
		}
	}
	leftovers, _ := filepath.Glob(c.run("lifeline.*"))
	for _, file := range leftovers {
		_ = os.Remove(file)
	}
	return nil, c.rotateLog()
}

// guarded says whether some watchdog still reads a lifeline here, or has just closed one.
func (c *cluster) guarded() bool {
	lifelines, _ := filepath.Glob(c.run("lifeline.*"))
	for _, path := range lifelines {
		if w, err := openWriter(path); err == nil {
			_ = w.Close()
			return true
		}
	}
	return false
}

// rotateLog keeps the log from growing without end; one old one is kept.
func (c *cluster) rotateLog() error {
	if fileSize(c.logFile()) < 8<<20 {
		return nil
	}
	return os.Rename(c.logFile(), c.logFile()+".old")
}

// awaitStopUnlessUsed waits for the end of a server that was let go, unless somebody else uses it. Nobody else stops one
// whose watchdog was killed meanwhile.
func (c *cluster) awaitStopUnlessUsed(ctx context.Context, pid int) error {
	for c.alone() {
		serving, guarded := c.postmaster() == pid, c.guarded()
		if !serving && !guarded {
			return nil
		}
		if !guarded {
			_ = unix.Kill(pid, unix.SIGINT)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("wait for Postgres to stop: %w", err)
		}
	}
	return nil
}
