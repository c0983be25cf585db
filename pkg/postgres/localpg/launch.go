package localpg

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed watchdog.sh
var watchdog string

// start starts the server and returns it with a lifeline held, once it answers. Port 0 means any free one. It tries
// again while the port is taken, and once with fresh data if the server finds the old damaged.
func (c *cluster) start(ctx context.Context, port int) (*Server, error) {
	renewed := false
	for {
		at := port
		if at == 0 {
			at = freePort(ctx)
		}
		s, err := c.attempt(ctx, at)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, errPortTaken) && pause(ctx, 100*time.Millisecond) == nil:
		case errors.Is(err, errDamaged) && !renewed && !c.exclusive:
			renewed = true
			if err := c.renew(ctx); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
	}
}

func (c *cluster) attempt(ctx context.Context, port int) (*Server, error) {
	secret, err := password(c.data())
	if err != nil {
		return nil, err
	}
	logged := fileSize(c.logFile())
	s, err := c.launchAndAwait(ctx, port, secret)
	if err == nil {
		return s, nil
	}
	tail := c.logSince(logged)
	if reason := reasonIn(tail); reason != nil {
		err = reason
	}
	return nil, fmt.Errorf("start Postgres %d: %w; its log ends with: %s", c.bin.major, err, lastLines(tail))
}

func (c *cluster) launchAndAwait(ctx context.Context, port int, secret string) (*Server, error) {
	now, lifeline, err := c.launch(ctx, port)
	if err != nil {
		return nil, err
	}
	s := &Server{cluster: c, lifeline: lifeline, maintenance: maintenanceURL(port, secret)}
	err = c.awaitReady(ctx, s, now)
	if err == nil {
		err = c.record(now)
	}
	if err != nil {
		return nil, errors.Join(err, lifeline.Close()) // the watchdog stops whatever runs
	}
	return s, nil
}

// launch starts the watchdog, which starts the server. Both are in a session of their own, so that Ctrl-C on the
// terminal does not reach the server before its users are done with it, and write to the log alone: an inherited
// stdout would keep "go test" waiting.
func (c *cluster) launch(ctx context.Context, port int) (running, *os.File, error) {
	now := running{Port: port, Lifeline: "lifeline." + strconv.FormatInt(time.Now().UnixNano(), 36)}
	reader, writer, err := makeLifeline(c.run(now.Lifeline), c.as)
	if err != nil {
		return running{}, nil, err
	}
	defer reader.Close() //nolint:errcheck // the watchdog has its own by now
	logFile, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return running{}, nil, errors.Join(err, writer.Close())
	}
	defer logFile.Close() //nolint:errcheck // likewise
	if err := c.writeScript(); err != nil {
		return running{}, nil, errors.Join(err, writer.Close())
	}
	args := []string{c.script(), c.run(now.Lifeline), c.linger(), c.bin.program("postgres")}
	cmd := c.as.command(ctx, c.data(), "/bin/sh", append(args, c.settings(port)...)...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{reader}
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Run(); err != nil { // returns at once: the watchdog goes on in the background
		return running{}, nil, errors.Join(err, writer.Close())
	}
	return now, writer, nil
}

// writeScript lets the server's user read the watchdog, whatever the umask is.
func (c *cluster) writeScript() error {
	return errors.Join(os.WriteFile(c.script(), []byte(watchdog), 0o600), os.Chmod(c.script(), 0o644)) //nolint:gosec // nothing secret in it
}

// settings is the server's command line. The data directory comes first: postmasterOf relies on it.
func (c *cluster) settings(port int) []string {
	args := []string{"-D", c.data()}
	set := func(values ...string) {
		for _, v := range values {
			args = append(args, "-c", v)
		}
	}
	set("port="+strconv.Itoa(port), "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300",
		"shared_buffers=128MB", "timezone=UTC", "log_timezone=UTC", "log_line_prefix=%m [%p] %d ", "log_lock_waits=on",
		"log_checkpoints=off", "log_autovacuum_min_duration=-1", "jit=off")
	if !c.durable { // mmap: a killed server's shared memory goes with its directory
		set("dynamic_shared_memory_type=mmap", "fsync=off", "wal_level=minimal", "max_wal_senders=0", "min_wal_size=32MB", "max_wal_size=256MB")
	}
	if !c.durable && !c.exclusive { // an exclusive server keeps its commits when it crashes
		set("synchronous_commit=off", "full_page_writes=off")
	}
	return args
}

// awaitReady waits until the server answers, or its watchdog has taken the lifeline away because it ended.
func (c *cluster) awaitReady(ctx context.Context, s *Server, now running) error {
	for {
		err := s.serves(ctx, c.data())
		if err == nil {
			return nil
		}
		if _, gone := os.Stat(c.run(now.Lifeline)); gone != nil {
			return errors.New("the server ended")
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("the server does not answer in time: %w", err)
		}
	}
}

func (c *cluster) record(now running) error {
	content, err := json.Marshal(now)
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, "current")
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (c *cluster) recorded() (running, bool) {
	var now running
	content, err := os.ReadFile(filepath.Join(c.dir, "current"))
	return now, err == nil && json.Unmarshal(content, &now) == nil
}

func maintenanceURL(port int, secret string) *url.URL {
	return &url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, secret),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/postgres", RawQuery: "sslmode=disable",
	}
}

// freePort picks below the range that systems hand out to outgoing connections, so that a stopped server finds its port
// free when it comes back.
func freePort(ctx context.Context) int {
	var listen net.ListenConfig
	port := 0
	for range 100 {
		port = 20000 + rand.IntN(12000) //nolint:gosec // not a secret
		l, err := listen.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			break
		}
	}
	return port // if none was free, the server says why
}
