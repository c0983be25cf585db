package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sonicus/webhooks/pkg/postgres/localpg"
)

const (
	startLimit = 60 * time.Second
	stopLimit  = 15 * time.Second
)

func (d *demo) startPostgres(ctx context.Context) error {
	d.say("Postgres")
	server, err := localpg.Start(ctx, localpg.Options{Durable: true, Log: func(line string) { note("%s", line) }})
	if err != nil {
		return err
	}
	d.later(server.Close)
	name := "sonicus_demo_" + strings.ToLower(rand.Text()[:10])
	if err := server.CreateDatabase(ctx, name, ""); err != nil {
		return err
	}
	d.later(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		return server.DropDatabase(ctx, name)
	})
	d.database = server.URL(name)
	note("made the database %s; it is dropped at the end", name)
	return nil
}

// startServices runs bin/api and bin/dispatcher as an operator would: with
// nothing but environment variables.
func (d *demo) startServices(ctx context.Context) error {
	logs, err := os.MkdirTemp("", "sonicus-demo-")
	if err != nil {
		return err
	}
	d.later(func() error { return os.RemoveAll(logs) })
	addrs := d.addresses(ctx)
	d.api, d.admin = "http://"+addrs[0], [2]string{"http://" + addrs[1], "http://" + addrs[2]}
	d.token = "dev_" + rand.Text() + rand.Text()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	env := append(os.Environ(),
		"SONICUS_ENV=development",
		"SONICUS_DATABASE_URL="+d.database,
		"SONICUS_DATABASE_DIRECT_URL="+d.database,
		"SONICUS_ENCRYPTION_KEYS=demo:"+base64.StdEncoding.EncodeToString(key),
		"SONICUS_EGRESS_ALLOW_CIDRS=127.0.0.0/8,::1/128",
		"SONICUS_HTTP_ADDR="+addrs[0],
		"SONICUS_LOG_FORMAT=text",
	)
	d.say("api: it makes the tables on its first start")
	if err := d.startProcess(ctx, "api", logs, append(env, "SONICUS_ADMIN_ADDR="+addrs[1], "SONICUS_BOOTSTRAP_API_KEY="+d.token), d.admin[0]); err != nil {
		return err
	}
	note("ready on %s", d.api)
	d.say("dispatcher: a process of its own")
	if err := d.startProcess(ctx, "dispatcher", logs, append(env, "SONICUS_ADMIN_ADDR="+addrs[2]), d.admin[1]); err != nil {
		return err
	}
	note("ready")
	return nil
}

// addresses are the documented ones; for a demo that must not fail because a
// service is running already, free ones where those are taken.
func (d *demo) addresses(ctx context.Context) [3]string {
	addrs := [3]string{"127.0.0.1:18100", "127.0.0.1:18101", "127.0.0.1:18102"}
	for i, addr := range addrs {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			l, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		}
		if err == nil {
			addrs[i] = l.Addr().String()
			_ = l.Close()
		}
	}
	return addrs
}

// startProcess runs a binary of bin/ and waits until it is ready.
func (d *demo) startProcess(ctx context.Context, name, logs string, env []string, admin string) error {
	path := filepath.Join(logs, name+".log")
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	d.logs = append(d.logs, path)
	cmd := exec.Command(filepath.Join("bin", name)) //nolint:noctx // ended in order by stop, not by a context
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = env, out, out, endedWithUs()
	err = cmd.Start()
	_ = out.Close() // the child has its own
	if err != nil {
		return fmt.Errorf("start %s: %w (make build makes it)", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d.later(func() error { return stop(name, cmd.Process, ended) })
	return awaitReady(ctx, name, admin+"/readyz", ended)
}

func awaitReady(ctx context.Context, name, url string, ended chan error) error {
	limit := time.After(startLimit)
	for {
		if status, _, err := get(ctx, url); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			ended <- err
			return fmt.Errorf("%s ended: %v", name, err) //nolint:errorlint // its exit status is only shown
		case <-limit:
			return fmt.Errorf("%s was not ready within %s", name, startLimit)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends a process as its supervisor would.
func stop(name string, p *os.Process, ended <-chan error) error {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	case <-time.After(stopLimit):
		_ = p.Kill()
		return fmt.Errorf("%s did not stop within %s: %w", name, stopLimit, <-ended)
	}
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// showLogs prints the end of what the child processes logged.
func (d *demo) showLogs(w io.Writer) {
	for _, path := range d.logs {
		content, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(content)), "\n")
		_, _ = fmt.Fprintf(w, "\nlast lines of %s:\n  %s\n", filepath.Base(path), strings.Join(lines[max(0, len(lines)-8):], "\n  "))
	}
}

func note(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) }
