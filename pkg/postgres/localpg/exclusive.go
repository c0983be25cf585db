package localpg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// startExclusive makes a cluster in a directory of its own.
func startExclusive(ctx context.Context, o Options, t template) (*Server, error) {
	c := &cluster{template: t, durable: o.Durable, exclusive: true, log: o.Log}
	users, err := c.claimDir(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the directory of an exclusive Postgres: %w", err)
	}
	s, err := c.startFresh(ctx)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir), unlock(users))
	}
	s.users = users
	return s, nil
}

func (c *cluster) startFresh(ctx context.Context) (*Server, error) {
	if err := c.renew(ctx); err != nil {
		return nil, err
	}
	return c.start(ctx, 0)
}

// claimDir makes the directory and takes the lock that shows it to be in use. It also removes the directories of
// processes that were killed. Both happen under the template's lock, so that no directory is removed between its making
// and its claiming.
func (c *cluster) claimDir(ctx context.Context) (*os.File, error) {
	lock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock(lock) //nolint:errcheck // nothing was written
	prefix := c.name("exclusive") + "-"
	others, _ := filepath.Glob(filepath.Join(c.clusters, prefix+"*"))
	for _, dir := range others {
		if old := (&cluster{template: c.template, dir: dir}); old.alone() && old.postmaster() == 0 {
			_ = os.RemoveAll(dir)
		}
	}
	if c.dir, err = os.MkdirTemp(c.clusters, prefix); err != nil {
		return nil, err
	}
	if err := c.makeDir(); err != nil {
		return nil, err
	}
	return c.use(ctx)
}

// Stop ends an exclusive server at once, as a crash would: nothing is flushed, connections break. It is gone when Stop
// returns. ErrNotOurs if the server is shared.
func (s *Server) Stop(ctx context.Context) error {
	if s.cluster == nil || !s.cluster.exclusive {
		return ErrNotOurs
	}
	for pid := s.cluster.postmaster(); pid != 0 && s.cluster.postmaster() == pid; {
		if err := unix.Kill(pid, unix.SIGQUIT); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stop Postgres: %w", err)
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("stop Postgres: %w", err)
		}
	}
	return s.dropLifeline()
}

// dropLifeline lets the watchdog of a stopped server end.
func (s *Server) dropLifeline() error {
	if s.lifeline == nil {
		return nil
	}
	err := s.lifeline.Close()
	s.lifeline = nil
	return err
}

// StartAgain starts a stopped exclusive server, on the same port and data; it recovers as after a crash. It returns
// when the server answers.
func (s *Server) StartAgain(ctx context.Context) error {
	if s.cluster == nil || !s.cluster.exclusive {
		return ErrNotOurs
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := forgetPostmaster(s.cluster.data()); err != nil {
		return err
	}
	port, err := portOf(s.maintenance)
	if err != nil {
		return err
	}
	again, err := s.cluster.start(ctx, port)
	if err != nil {
		return err
	}
	s.lifeline = again.lifeline
	return nil
}

func portOf(u *url.URL) (int, error) { return strconv.Atoi(u.Port()) }

// Restart is Stop and StartAgain: a crash of an exclusive server with the recovery after it.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	return s.StartAgain(ctx)
}

func (s *Server) closeExclusive(ctx context.Context) error {
	err := errors.Join(s.Stop(ctx), os.RemoveAll(s.cluster.dir), unlock(s.users))
	s.users = nil
	return err
}
