package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sonicus/webhooks/pkg/postgres/localpg"
)

func (d *demo) startPostgres(ctx context.Context) error {
	d.say("Postgres")
	server, err := localpg.Start(ctx, localpg.Options{Durable: true, Log: func(line string) { note("%s", line) }})
	if err != nil {
		return err
	}
	d.later(server.Close)
	if d.ownServer() {
		removeOrphans(ctx, server)
	}
	name := fmt.Sprintf("%s%d_%s", databasePrefix, os.Getpid(), strings.ToLower(rand.Text()[:8]))
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

// ownServer says whether the server was found or installed, and not given.
func (d *demo) ownServer() bool {
	return os.Getenv("SONICUS_DATABASE_URL")+os.Getenv("DATABASE_URL") == ""
}

var (
	apiReady        = regexp.MustCompile(`msg="api ready".* address=(\S+) admin_address=(\S+)`)
	dispatcherReady = regexp.MustCompile(`(?s)msg="dispatcher started".* admin_address=(\S+).*msg="dispatcher ready"`)
)

// startServices runs bin/api and bin/dispatcher as an operator would: with
// nothing but environment variables.
func (d *demo) startServices(ctx context.Context) error {
	logs, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", logsPrefix, os.Getpid()))
	if err != nil {
		return err
	}
	d.logs = logs
	d.later(func() error {
		if d.failed {
			fmt.Fprintln(os.Stderr, "\nThe logs are kept in", logs)
			return nil
		}
		return os.RemoveAll(logs)
	})
	d.token = "dev_" + rand.Text() + rand.Text()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	d.key = "demo:" + base64.StdEncoding.EncodeToString(key)

	d.say("api: it makes the tables on its first start")
	found, err := d.startChild(ctx, "api", apiReady, "127.0.0.1:18100", "127.0.0.1:18101", "SONICUS_BOOTSTRAP_API_KEY="+d.token)
	if err != nil {
		return err
	}
	d.api, d.admin[0] = "http://"+found[1], "http://"+found[2]
	note("ready on %s", d.api)
	d.say("dispatcher: a process of its own")
	if found, err = d.startChild(ctx, "dispatcher", dispatcherReady, found[1], "127.0.0.1:18102"); err != nil {
		return err
	}
	d.admin[1] = "http://" + found[1]
	note("ready")
	return os.WriteFile(d.envFile(), []byte(d.exports()), 0o600)
}

// settings are what both programs are given.
func (d *demo) settings() []string {
	return []string{
		"SONICUS_ENV=development",
		"SONICUS_DATABASE_URL=" + d.database,
		"SONICUS_DATABASE_DIRECT_URL=" + d.database,
		"SONICUS_ENCRYPTION_KEYS=" + d.key,
		"SONICUS_EGRESS_ALLOW_CIDRS=127.0.0.0/8,::1/128",
		"SONICUS_LOG_FORMAT=text",
	}
}

// startChild runs a program on the given addresses, or, when one of them is
// taken, on free ones, and returns what its log says of them.
func (d *demo) startChild(ctx context.Context, name string, ready *regexp.Regexp, http, admin string, more ...string) ([]string, error) {
	const free = "127.0.0.1:0"
	for {
		env := append(append(os.Environ(), d.settings()...), "SONICUS_HTTP_ADDR="+http, "SONICUS_ADMIN_ADDR="+admin)
		c, err := d.spawn(name, append(env, more...))
		if err != nil {
			return nil, err
		}
		found, err := c.await(ctx, ready)
		if err == nil {
			d.keep(c)
			return found, nil
		}
		if admin == free || !strings.Contains(c.tail(1), "address already in use") {
			d.children = append(d.children, c) // for its log
			return nil, err
		}
		note("a documented port is taken; using free ones instead of %s and %s", http, admin)
		admin = free
		if name == "api" {
			http = free
		}
	}
}

func (d *demo) envFile() string { return filepath.Join(d.logs, "env") }

// exports is a file for the shell of someone who wants to run the programs.
func (d *demo) exports() string {
	var b strings.Builder
	for _, s := range append(d.settings(), "TOKEN="+d.token) {
		name, value, _ := strings.Cut(s, "=")
		fmt.Fprintf(&b, "export %s='%s'\n", name, value)
	}
	return b.String()
}

func note(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) }

const stopLimit = 15 * time.Second
