package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// world is a database of its own with the programs that use it. The two sides of
// a ratio that differ in what the database holds are two worlds.
type world struct {
	*lab
	label string // in the paths of its endpoints: what the sink counts by
	url   string
	db    *postgres.DB
	key   string // SONICUS_ENCRYPTION_KEYS
	token string

	api       *child
	apiURL    string
	endpoints []uuid.UUID
	created   atomic.Int64
	answered  sync.Map     // organization → when its 201 came (L)
	loaded    atomic.Int64 // deliveries that were put into the queue
}

var apiReady = regexp.MustCompile(`"msg":"api ready","process":"api","address":"([^"]+)","admin_address":"([^"]+)"`)

// newWorld makes a database and starts an api on it, which makes the tables.
func (l *lab) newWorld(ctx context.Context, label string) (*world, error) {
	l.step("making the database %q", label)
	name := "bench_" + strings.ToLower(label)
	if err := l.server.CreateDatabase(ctx, name, ""); err != nil {
		return nil, err
	}
	l.later(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return l.server.DropDatabase(ctx, name)
	})
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	w := &world{
		lab: l, label: label, url: l.server.URL(name),
		key: "bench:" + base64.StdEncoding.EncodeToString(key), token: "bench_" + rand.Text() + rand.Text(),
	}
	var err error
	if w.db, err = postgres.Connect(ctx, w.url, postgres.Options{Application: "bench", MaxOpen: 4, Patient: true}); err != nil {
		return nil, err
	}
	l.later(w.db.Close)
	if err := w.startAPI(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *world) startAPI(ctx context.Context) error {
	program, err := bin("api")
	if err != nil {
		return err
	}
	if w.api, err = w.spawn(program, append(w.settings(), "SONICUS_HTTP_ADDR=127.0.0.1:0", "SONICUS_BOOTSTRAP_API_KEY="+w.token)); err != nil {
		return err
	}
	found, err := w.api.await(ctx, apiReady)
	if err != nil {
		return err
	}
	w.apiURL, w.api.admin = "http://"+found[1], found[2]
	return nil
}

// settings are the shipped defaults, and what loopback and http:// need.
func (w *world) settings() []string {
	return []string{
		"SONICUS_ENV=development",
		"SONICUS_DATABASE_URL=" + w.url,
		"SONICUS_ENCRYPTION_KEYS=" + w.key,
		"SONICUS_EGRESS_ALLOW_CIDRS=127.0.0.0/8",
		"SONICUS_ADMIN_ADDR=127.0.0.1:0",
	}
}

// register makes n endpoints, which sign, through the API. They are counted by
// the sink under the world's label.
func (w *world) register(ctx context.Context, n int, behaviour string, timeout time.Duration) ([]uuid.UUID, error) {
	first, label := len(w.endpoints), w.label
	if behaviour == "hang" {
		label += "_hanging" // counted apart
	}
	for i := range n {
		var made struct {
			ID uuid.UUID `json:"id"`
		}
		err := w.create(ctx, "/api/v1/webhooks/endpoints", map[string]any{
			"url": w.target(behaviour, label, first+i), "events": []string{"organization.created"}, "name": fmt.Sprintf("%s %d", behaviour, first+i),
			"timeout_seconds": int(timeout.Seconds()), "generate_secret": true,
		}, &made)
		if err != nil {
			return nil, err
		}
		w.endpoints = append(w.endpoints, made.ID)
	}
	return w.endpoints[first:], nil
}

// registerAs makes one endpoint.
func (w *world) registerAs(ctx context.Context, behaviour string, timeout time.Duration) (uuid.UUID, error) {
	ids, err := w.register(ctx, 1, behaviour, timeout)
	if err != nil {
		return uuid.UUID{}, err
	}
	return ids[0], nil
}

const attemptTimeout = 10 * time.Second // the service's default

// create POSTs to the API and wants a 201.
func (w *world) create(ctx context.Context, path string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.apiURL+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+w.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := apiClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the api: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("ask the api: %w", err)
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST %s answered %s: %s", path, response.Status, answer)
	}
	return json.Unmarshal(answer, into)
}

// stopAPI ends the api, so that rows without it have its CPU time.
func (w *world) stopAPI() error { return w.api.stop() }

// vacuum lets Postgres know what was loaded, as autovacuum would some time later.
func (w *world) vacuum(ctx context.Context) error {
	for _, table := range []string{"events", "deliveries", "attempts", "queue"} {
		if _, err := w.db.ExecContext(ctx, "VACUUM (ANALYZE) sonicus."+table); err != nil {
			return fmt.Errorf("vacuum: %w", err)
		}
	}
	return nil
}

// queued is how many deliveries of these endpoints (nil: of all) are not settled.
func (w *world) queued(ctx context.Context, endpoints []uuid.UUID) (n int, err error) {
	if endpoints == nil {
		err = w.db.GetContext(ctx, &n, `SELECT count(*) FROM sonicus.queue`)
	} else {
		err = w.db.GetContext(ctx, &n, `SELECT count(*) FROM sonicus.queue WHERE endpoint_id = ANY ($1::uuid[])`, array(endpoints))
	}
	return n, err
}

// array is a Postgres array literal.
func array(ids []uuid.UUID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return "{" + strings.Join(texts, ",") + "}"
}
