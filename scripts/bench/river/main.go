// Command bench-river is the River worker that row R5 of the benchmark compares
// the dispatcher with: every job POSTs its payload and reads the answer. River
// (https://riverqueue.com) is a general job queue on Postgres, at its best here:
// no signature, no log of attempts, no receiver that is slower than another. It
// is a module of its own, so that the product does not depend on River.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	workers   = 1000
	batch     = 10_000 // jobs of one insert
	poolSize  = 10
	stopLimit = 20 * time.Second
)

// errUsage: the command line is wrong.
var errUsage = errors.New("usage: bench-river insert N, or bench-river work URL...; BENCH_DATABASE_URL names the database, BENCH_PAYLOAD the body of the requests")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench-river:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	config, err := pgxpool.ParseConfig(os.Getenv("BENCH_DATABASE_URL"))
	if err != nil {
		return errors.New("BENCH_DATABASE_URL is not a Postgres URL") // the parser's error would repeat it
	}
	config.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer pool.Close()
	switch args[0] {
	case "insert":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return errUsage
		}
		return insert(ctx, pool, n)
	case "work":
		return work(ctx, pool, args[1:])
	}
	return errUsage
}

// hook is a job: one request to the receiver of that number.
type hook struct {
	Receiver int             `json:"receiver"`
	Payload  json.RawMessage `json:"payload"`
}

// Kind names the job for River.
func (hook) Kind() string { return "hook" }

// insert makes River's tables, if need be, and n jobs.
func insert(ctx context.Context, pool *pgxpool.Pool, n int) error {
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet()})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	client, err := river.NewClient[pgx.Tx](driver, &river.Config{Logger: quiet()})
	if err != nil {
		return err
	}
	payload := json.RawMessage(os.Getenv("BENCH_PAYLOAD"))
	for first := 0; first < n; first += batch {
		var jobs []river.InsertManyParams
		for i := first; i < min(first+batch, n); i++ {
			jobs = append(jobs, river.InsertManyParams{Args: hook{Receiver: i, Payload: payload}})
		}
		if _, err := client.InsertManyFast(ctx, jobs); err != nil { // COPY
			return fmt.Errorf("insert: %w", err)
		}
	}
	return nil
}

// poster is River's worker.
type poster struct {
	river.WorkerDefaults[hook]
	client *http.Client
	urls   []string
}

// Work makes the request.
func (p *poster) Work(ctx context.Context, job *river.Job[hook]) error {
	url := p.urls[job.Args.Receiver%len(p.urls)]
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(job.Args.Payload))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the receiver answered %s", response.Status)
	}
	return nil
}

// work runs River's own defaults but for the number of workers, until ctx ends.
// BENCH_FETCH_COOLDOWN shortens its pause between two fetches.
func work(ctx context.Context, pool *pgxpool.Pool, urls []string) error {
	config := &river.Config{Logger: quiet(), Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}}}
	if text := os.Getenv("BENCH_FETCH_COOLDOWN"); text != "" {
		cooldown, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("BENCH_FETCH_COOLDOWN: %w", err)
		}
		config.FetchCooldown = cooldown
	}
	config.Workers = river.NewWorkers()
	idle := workers / len(urls)
	river.AddWorker(config.Workers, &poster{urls: urls, client: &http.Client{Timeout: stopLimit / 2, Transport: &http.Transport{
		MaxIdleConns: workers, MaxIdleConnsPerHost: idle, DisableCompression: true,
	}}})
	client, err := river.NewClient(riverpgxv5.New(pool), config)
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	fmt.Println("working on " + strings.Join(urls, " "))
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return client.Stop(stopping)
}

// quiet leaves out what River says when all is well.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}
