package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit = time.Minute
	stopLimit  = 45 * time.Second // longer than the grace period of both programs
	// logLimit: the dispatcher logs every attempt, 10 MB a second. What it logs is
	// cut off before the disk has to write it.
	logLimit = 8 << 20
)

// child is a program that the bench runs. Its output goes to a file, as a
// service manager's pipe would cost CPU time on this side.
type child struct {
	name, log string
	admin     string // address of its admin server, once known
	cmd       *exec.Cmd
	done      chan struct{} // closed when it has ended
	err       error         // its exit, once done
	stopped   bool
}

// spawn starts a program of bin/ with no settings but those given. Call it from
// the main goroutine only: the child lives as long as the thread that started it.
func (l *lab) spawn(program string, env []string, args ...string) (*child, error) {
	l.spawned++
	name := filepath.Base(program)
	c := &child{name: name, log: filepath.Join(l.dir, fmt.Sprintf("%03d-%s.log", l.spawned, name)), done: make(chan struct{})}
	out, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()     // the child has its own
	c.cmd = exec.Command(program, args...) //nolint:noctx // ended in order by stop, not by a context
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr, c.cmd.SysProcAttr = append(ownEnvironment(), env...), out, out, endedWithUs()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make bench builds it)", program, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	go c.trim()
	l.later(c.stop)
	return c, nil
}

// ownEnvironment is the bench's without what would change the programs.
func ownEnvironment() []string {
	var env []string
	for _, s := range os.Environ() {
		name, _, _ := strings.Cut(s, "=")
		if !strings.HasPrefix(name, "SONICUS_") && name != "DATABASE_URL" && name != "GOGC" && name != "GODEBUG" && name != "GOMEMLIMIT" {
			env = append(env, s)
		}
	}
	return env
}

// trim keeps the log short for as long as the child runs.
func (c *child) trim() {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
			if info, err := os.Stat(c.log); err == nil && info.Size() > logLimit {
				_ = os.Truncate(c.log, 0) // the child appends
			}
		}
	}
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
			return nil, fmt.Errorf("%s did not start: %w; its log ends with: %s", c.name, c.exit(), c.tail())
		case <-limit:
			return nil, fmt.Errorf("%s was not ready within %s; its log ends with: %s", c.name, startLimit, c.tail())
		case <-time.After(2 * time.Millisecond):
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

// alive is an error when the child has ended by itself.
func (c *child) alive() error {
	if c == nil {
		return nil
	}
	select {
	case <-c.done:
		return fmt.Errorf("%s has ended by itself: %w; its log ends with: %s", c.name, c.exit(), c.tail())
	default:
		return nil
	}
}

// finish waits for a child that ends by itself.
func (c *child) finish(ctx context.Context) error {
	select {
	case <-c.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.stopped = true
	if c.err != nil {
		return fmt.Errorf("%s: %w; its log ends with: %s", c.name, c.err, c.tail())
	}
	return os.Remove(c.log)
}

// stop ends the child as its supervisor would, and removes its log.
func (c *child) stop() error {
	if c.stopped {
		return nil
	}
	c.stopped = true
	if err := c.alive(); err != nil {
		return err
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(stopLimit):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
	if c.err != nil {
		return fmt.Errorf("stop %s: %w; its log ends with: %s", c.name, c.err, c.tail())
	}
	return os.Remove(c.log)
}

// tail is the end of what the child has logged.
func (c *child) tail() string {
	content, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}
