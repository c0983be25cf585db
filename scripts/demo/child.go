package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const startLimit = 60 * time.Second

// child is a running program of bin/.
type child struct {
	name, log string
	cmd       *exec.Cmd
	stopping  atomic.Bool
	done      chan struct{} // closed when it has ended
	err       error         // its exit, once done
}

// spawn starts a program whose output goes to a file of its own.
func (d *demo) spawn(name string, env []string) (*child, error) {
	c := &child{name: name, log: filepath.Join(d.logs, name+".log"), done: make(chan struct{})}
	out, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()               // the child has its own
	c.cmd = exec.Command(filepath.Join("bin", name)) //nolint:noctx // ended in order by stop, not by a context
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr, c.cmd.SysProcAttr = env, out, out, endedWithUs()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make build makes it)", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	d.later(c.stop)
	return c, nil
}

// keep ends the run when the child ends by itself.
func (d *demo) keep(c *child) {
	d.children = append(d.children, c)
	go func() {
		<-c.done
		if !c.stopping.Load() {
			d.lost(fmt.Errorf("the %s has ended by itself: %w", c.name, c.exit()))
		}
	}()
}

// await waits for a line in the child's log.
func (c *child) await(ctx context.Context, line *regexp.Regexp) ([]string, error) {
	limit := time.After(startLimit)
	for {
		content, err := os.ReadFile(c.log)
		if err != nil {
			return nil, err
		}
		if found := line.FindStringSubmatch(string(content)); found != nil {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.done:
			return nil, fmt.Errorf("the %s did not start: %w", c.name, c.exit())
		case <-limit:
			return nil, fmt.Errorf("the %s was not ready within %s", c.name, startLimit)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// errEnded stands for an exit code of 0, which is no error of its own.
var errEnded = errors.New("exit status 0")

func (c *child) exit() error {
	if c.err == nil {
		return errEnded
	}
	return c.err
}

// stop ends the child as its supervisor would.
func (c *child) stop() error {
	c.stopping.Store(true)
	select {
	case <-c.done: // by itself: that has been told
		return nil
	default:
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(stopLimit):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
	if c.err != nil {
		return fmt.Errorf("stop the %s: %w", c.name, c.err)
	}
	return nil
}

// tail is the end of what the child has logged.
func (c *child) tail(lines int) string {
	content, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// showLogs prints the end of what the children logged.
func (d *demo) showLogs(w io.Writer) {
	for _, c := range d.children {
		_, _ = fmt.Fprintf(w, "\nlast lines of the %s's log:\n  %s\n", c.name, strings.ReplaceAll(c.tail(8), "\n", "\n  "))
	}
}
