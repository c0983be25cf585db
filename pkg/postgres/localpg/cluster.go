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
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed watchdog.sh
var watchdog string

// errPortTaken says that the server could not listen: somebody was faster, or an earlier server is not quite gone.
var errPortTaken = errors.New("the port or the shared memory is still taken")

// errDamaged says that the server found its data unusable.
var errDamaged = errors.New("the data directory is damaged")

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
	defer f.Close() //nolint:errcheck // unlocks; nothing was written
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

// start starts the server and returns it with a lifeline held, once it answers. Port 0 means any free one. It tries
// again while the port is taken, and once with fresh data if the server finds the old damaged.
func (c *cluster) start(ctx context.Context, port int) (*Server, error) {
	renewed := false
	for {
		at := port
		if at == 0 {
			at = freePort()
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
	now, lifeline, err := c.launch(ctx, port)
	if err != nil {
		return nil, fmt.Errorf("start Postgres %d: %w", c.bin.major, err)
	}
	s := &Server{cluster: c, lifeline: lifeline, maintenance: maintenanceURL(port, secret)}
	err = c.awaitReady(ctx, s, now)
	if err == nil {
		err = c.record(now)
	}
	if err != nil {
		_ = lifeline.Close() // the watchdog stops whatever runs
		tail := c.logSince(logged)
		return nil, fmt.Errorf("start Postgres %d: %w; its log ends with: %s", c.bin.major, errors.Join(err, reasonIn(tail)), lastLines(tail))
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
	script := filepath.Join(c.dir, "watchdog.sh")
	if err := os.WriteFile(script, []byte(watchdog), 0o644); err != nil { //nolint:gosec // read by the server's user
		return running{}, nil, errors.Join(err, writer.Close())
	}
	args := []string{script, c.run(now.Lifeline), c.linger(), c.bin.program("postgres")}
	cmd := c.as.command(ctx, c.data(), "/bin/sh", append(args, c.settings(port)...)...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{reader}
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Run(); err != nil { // returns at once: the watchdog goes on in the background
		return running{}, nil, errors.Join(err, writer.Close())
	}
	return now, writer, nil
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
func freePort() int {
	port := 0
	for range 100 {
		port = 20000 + rand.IntN(12000) //nolint:gosec // not a secret
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			break
		}
	}
	return port // if none was free, the server says why
}

// reasonIn recognises in the server's log what a further attempt can cure.
func reasonIn(log string) error {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(log, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("could not create any TCP/IP sockets", "pre-existing shared memory block"):
		return errPortTaken
	case has("No space left on device"):
		return nil
	case has("PANIC:", "due to startup process failure", "is not a valid data directory", "incompatible with server", "could not open file", "could not read file",
		"could not locate a valid checkpoint", "invalid checkpoint", "incorrect checksum in control file", "has wrong ownership"):
		return errDamaged
	}
	return nil
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (c *cluster) logSince(offset int64) string {
	content, err := os.ReadFile(c.logFile())
	if err != nil || int64(len(content)) < offset {
		return ""
	}
	return string(content[offset:])
}

// lastLines makes one line of the end of a program's output.
func lastLines(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], " | ")
}
