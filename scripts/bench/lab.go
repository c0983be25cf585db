package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/localpg"
)

// serverSettings are what the bench's Postgres has beside localpg's own. The
// data is written through (fsync) in every row.
var serverSettings = []string{
	"track_commit_timestamp = on", // row L; costs some nanoseconds per transaction
	// A checkpoint takes place when the bench asks for one, before slices and not
	// in some of them.
	"max_wal_size = '8GB'",
	"checkpoint_timeout = '1h'",
}

// lab is what all rows share: the server, the receiver, the clock of the slices.
type lab struct {
	*progress
	options
	pace pace
	dir  string // the children's logs

	server     *localpg.Server
	postmaster int
	control    *http.Client
	sink       sinkAddresses

	spawned  int
	profiled bool
	undo     []func() error
}

// open starts the server and the sink.
func (l *lab) open(ctx context.Context) error {
	removeOrphans()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", logsPrefix, os.Getpid()))
	if err != nil {
		return err
	}
	l.dir = dir
	l.later(func() error { return os.RemoveAll(dir) })
	if err := l.startPostgres(ctx); err != nil {
		return err
	}
	return l.startSink(ctx)
}

func (l *lab) startPostgres(ctx context.Context) error {
	l.step("starting a Postgres for the bench alone")
	server, err := localpg.Start(ctx, localpg.Options{Durable: true, Exclusive: true, Log: func(line string) { l.say("%s", line) }})
	if err != nil {
		return err
	}
	l.server = server
	l.later(server.Close)
	err = l.maintain(ctx, func(db *postgres.DB) error {
		for _, setting := range serverSettings {
			if _, err := db.ExecContext(ctx, "ALTER SYSTEM SET "+setting); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set up Postgres: %w", err)
	}
	if err := server.Restart(ctx); err != nil {
		return err
	}
	return l.maintain(ctx, func(db *postgres.DB) error {
		var backend int
		if err := db.GetContext(ctx, &backend, `SELECT pg_backend_pid()`); err != nil {
			return err
		}
		if content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", backend)); err == nil {
			if p, err := parseProcess(string(content)); err == nil {
				l.postmaster = p.parent
			}
		}
		return nil
	})
}

// maintain uses the server's own database.
func (l *lab) maintain(ctx context.Context, use func(db *postgres.DB) error) error {
	db, err := postgres.Connect(ctx, l.server.URL("postgres"), postgres.Options{Application: "bench", MaxOpen: 1, Patient: true})
	if err != nil {
		return err
	}
	return errors.Join(use(db), db.Close())
}

// checkpoint writes out what rows before this one have left, so that no slice
// pays for another.
func (l *lab) checkpoint(ctx context.Context) error {
	return l.maintain(ctx, func(db *postgres.DB) error {
		_, err := db.ExecContext(ctx, `CHECKPOINT`)
		return err
	})
}

var sinkReady = regexp.MustCompile(`(?m)^(\{"control".*\})$`)

func (l *lab) startSink(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c, err := l.spawn(self, nil, "sink")
	if err != nil {
		return err
	}
	found, err := c.await(ctx, sinkReady)
	if err != nil {
		return err
	}
	l.control = &http.Client{Timeout: 10 * time.Second}
	return json.Unmarshal([]byte(found[1]), &l.sink)
}

// target is the URL of the i-th receiver with this behaviour and label.
func (l *lab) target(behaviour, label string, i int) string {
	return fmt.Sprintf("http://%s/%s/%s/%d", l.sink.Ports[i%len(l.sink.Ports)], behaviour, label, i)
}

// ask reads a JSON answer of the sink's control address.
func (l *lab) ask(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.sink.Control+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := l.control.Do(request)
	if err != nil {
		return fmt.Errorf("ask the sink: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("ask the sink: %w", err)
	}
	return json.Unmarshal(content, into)
}

func (l *lab) counts(ctx context.Context) (sinkCounts, error) {
	var c sinkCounts
	err := l.ask(ctx, "/counts", &c)
	return c, err
}

func (l *lab) later(undo func() error) { l.undo = append(l.undo, undo) }

// close ends everything, in reverse order, whatever state it is in.
func (l *lab) close() error { return l.unwind(0) }

// unwind undoes all but the first steps.
func (l *lab) unwind(keep int) error {
	var errs []error
	for len(l.undo) > keep {
		last := l.undo[len(l.undo)-1]
		l.undo = l.undo[:len(l.undo)-1]
		errs = append(errs, last())
	}
	return errors.Join(errs...)
}

// bin is a built program, beside the bench itself.
func bin(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(self), name), nil
}
