package localpg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// poolerLimit bounds the start of a pooler, which takes some milliseconds.
const poolerLimit = 20 * time.Second

// poolerSettings make a pooler that hides no mistake: few connections to the server, taken in turns, so that hardly two
// transactions of a client share one.
const poolerSettings = `[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = 3
server_round_robin = 1
max_client_conn = 200
`

// poolerWatch runs the pooler until its standard input ends, as it does with the process that holds the other end, and
// removes the files with the password.
const poolerWatch = `exec 3<&0
"$@" 3<&- &
pooler=$!
{ read -r line; rm -f ini users log; kill -KILL "$pooler"; } <&3 &
wait "$pooler"
kill "$!"`

// Pooler is a running PgBouncer in transaction mode, for tests.
type Pooler struct {
	dir      string
	way      *url.URL // to the database of the server's URL
	lifeline io.Closer
	ended    chan struct{} // closed when it has
}

// StartPooler puts a PgBouncer of the caller's own before a server. It is found on the machine, or else downloaded and
// kept in the cache directory; nothing is installed. It ends with Close, or with the process.
func StartPooler(ctx context.Context, serverURL string, log func(line string)) (*Pooler, error) {
	server, err := url.Parse(serverURL)
	if err != nil {
		return nil, errors.New("the server's URL is none") //nolint:err113 // the parser's error would repeat the URL with its password
	}
	as, err := serverUser()
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir(os.Getenv, as)
	if err != nil {
		return nil, err
	}
	program, err := findOrDownloadPooler(ctx, defaultSearch(cache), as, log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, poolerLimit)
	defer cancel()
	p := &Pooler{way: server, ended: make(chan struct{})}
	if err := p.start(ctx, cache, program, as); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// URL returns the way through the pooler to the database that the server's URL names.
func (p *Pooler) URL() string { return p.way.String() }

// Log returns what the pooler has logged.
func (p *Pooler) Log() string {
	log, err := os.ReadFile(p.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// Close ends the pooler and removes its files.
func (p *Pooler) Close() error {
	var err error
	if p.lifeline != nil {
		err = p.lifeline.Close()
		<-p.ended
	}
	if p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	return err
}

func (p *Pooler) file(name string) string { return filepath.Join(p.dir, name) }

func (p *Pooler) start(ctx context.Context, cache string, program pooler, as runAs) (err error) {
	if p.dir, err = os.MkdirTemp(cache, "pooler-"); err != nil {
		return fmt.Errorf("make the pooler's directory: %w", err)
	}
	if err := p.configure(freePort(ctx), as); err != nil {
		return fmt.Errorf("configure the pooler: %w", err)
	}
	log, err := os.Create(p.file("log"))
	if err != nil {
		return fmt.Errorf("make the pooler's log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the pooler has it
	cmd := program.command(context.WithoutCancel(ctx), as, p.dir, "/bin/sh", "-c", poolerWatch, "sh", program.file, p.file("ini"))
	cmd.Stdout, cmd.Stderr = log, log
	lifeline, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("start the pooler: %w", err)
	}
	p.lifeline = lifeline
	go func() {
		_ = cmd.Wait() // it is killed in the end
		close(p.ended)
	}()
	return p.awaitReady(ctx)
}

// configure writes the pooler's files, and turns the way to the server into the one through the pooler.
func (p *Pooler) configure(port int, as runAs) error {
	host, serverPort, user := p.way.Hostname(), p.way.Port(), p.way.User
	password, _ := user.Password()
	through := *p.way
	through.Host, through.RawQuery = net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), "sslmode=disable"
	p.way = &through
	for name, content := range map[string]string{
		"ini":   fmt.Sprintf(poolerSettings, host, serverPort, port, p.file("users")),
		"users": quoted(user.Username()) + " " + quoted(password) + "\n",
	} {
		if err := errors.Join(os.WriteFile(p.file(name), []byte(content), 0o600), as.own(p.file(name))); err != nil {
			return err
		}
	}
	return as.own(p.dir)
}

// quoted is a word of PgBouncer's list of users.
func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// awaitReady waits until the server answers through the pooler.
func (p *Pooler) awaitReady(ctx context.Context) error {
	db, err := sql.Open("postgres", p.URL())
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // nothing was written
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("the pooler ended: %s", lastLines(p.Log()))
		default:
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("the pooler does not answer in time: %w; its log ends with: %s", err, lastLines(p.Log()))
		}
	}
}

// pooler is a PgBouncer program that was seen to run.
type pooler struct {
	file      string
	libraries string // folders of its own, in LD_LIBRARY_PATH's form
}

// command prepares a program with the pooler's libraries.
func (p pooler) command(ctx context.Context, as runAs, dir, program string, args ...string) *exec.Cmd {
	cmd := as.command(ctx, dir, program, args...)
	if p.libraries != "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+p.libraries)
	}
	return cmd
}
