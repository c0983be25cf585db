package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

const (
	fuzzWorkers = 6
	crowd       = 20 // things of a collection; more are deleted as they come
)

// fuzzer asks the built api for everything that it describes, in good ways and in
// bad ones, and compares every answer with the description.
type fuzzer struct {
	t          *testing.T
	svc        *service
	dispatcher *process
	receiver   string // its URL
	operations []operation
	anyProblem *openapi3.SchemaRef
	world      *world
	client     *http.Client
	fitting    sync.Map // digests of bodies that fit their schema

	mu       sync.Mutex
	answered map[string]int            // statuses, by the request id
	asked    map[string]map[string]int // by operation and status
	wrong    map[string]int            // how often, by what
}

// TestGeneratedRequestsAreAnsweredAsDescribed has SONICUS_FUZZ_REQUESTS and
// SONICUS_FUZZ_SEED. Ids and secrets are the run's own, so a seed brings back
// the same kinds of requests and not the same bytes.
func TestGeneratedRequestsAreAnsweredAsDescribed(t *testing.T) {
	t.Parallel()
	seed, total := number(t, "SONICUS_FUZZ_SEED", rand.Uint64()), number(t, "SONICUS_FUZZ_REQUESTS", short())
	f := newFuzzer(t)
	began := time.Now()
	f.run(seed, total)
	t.Logf("seed %d: %d requests of %d operations in %s", seed, len(f.answered), len(f.operations), time.Since(began).Round(time.Second))
	for _, p := range []*process{f.svc.api, f.dispatcher} {
		p.signal(syscall.SIGTERM)
		if code := p.exitCode(); code != 0 {
			t.Errorf("%s ended with %d", p.name, code)
		}
		f.checkLines(p)
	}
	f.checkRequests()
	f.checkRows()
	f.svc.booksAgree()
	f.report(seed)
}

// short is how many requests an ordinary test makes: with the race detector
// everything takes five times as long.
func short() uint64 {
	if raceDetector() {
		return 2000
	}
	return 4000
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

func newFuzzer(t *testing.T) *fuzzer {
	t.Helper()
	svc := start(t, quick(settings{"SONICUS_JWT_ALG": "HS256", "SONICUS_JWT_SECRET": tokenSecret, "SONICUS_JWT_AUDIENCE": "sonicus", "SONICUS_LOG_LEVEL": "debug"}))
	dispatcher := svc.dispatcher()
	var n atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader([]int{204, 200, 500, 204, 404, 204, 204, 503}[n.Add(1)%8])
	}))
	t.Cleanup(receiver.Close)
	doc, operations := describedBy(t, svc)
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: fuzzWorkers}
	t.Cleanup(transport.CloseIdleConnections)
	return &fuzzer{
		t: t, svc: svc, dispatcher: dispatcher, receiver: receiver.URL, operations: operations, anyProblem: doc.Components.Schemas["Problem"],
		world: newWorld(operations),
		client: &http.Client{
			Transport: transport, Timeout: patience,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		answered: map[string]int{}, asked: map[string]map[string]int{}, wrong: map[string]int{},
	}
}

// run asks; the first requests of all operations are good ones, so that there is
// something to ask about.
func (f *fuzzer) run(seed, total uint64) {
	var next atomic.Uint64
	var all sync.WaitGroup
	for range fuzzWorkers {
		all.Go(func() {
			for n := next.Add(1); n <= total && f.t.Context().Err() == nil; n = next.Add(1) {
				f.one(rand.New(rand.NewPCG(seed, n)), n)
			}
		})
	}
	all.Wait()
}

func (f *fuzzer) one(r *rand.Rand, n uint64) {
	count := uint64(len(f.operations))
	if r.IntN(50) == 0 { // not every 50th: of 50 operations one would never have its turn
		f.knock(r)
		return
	}
	q := f.ask(r, &f.operations[n%count])
	if n > 5*count && r.IntN(10) < 7 {
		for range 1 + r.IntN(3) {
			f.spoil(r, &q)
		}
	}
	q.body = f.local(q.body)
	got, err := f.send(q)
	if err == nil {
		err = errors.Join(f.check(q, got), stays(q, got))
	}
	f.note(q, got, err)
	if got.status == http.StatusNotFound && q.op != nil {
		f.world.lose(q.op.path, q.path)
	}
	if err != nil || got.status/100 != 2 || q.op == nil {
		return
	}
	if q.header.Get(idempotencyKey) != "" && q.op.Parameters.GetByInAndName("header", idempotencyKey) != nil {
		f.again(q, got)
	}
	f.keepUp(r, q, got)
}

// again sends a request once more under its key: it must be answered as the first time.
func (f *fuzzer) again(q question, first reply) {
	got, err := f.send(q)
	if err == nil {
		err = f.check(q, got)
	}
	if err == nil && (got.status != first.status || !bytes.Equal(got.body, first.body) || got.header.Get("Idempotent-Replayed") != "true") {
		err = fmt.Errorf("%d, and again %d: %s", first.status, got.status, first.body)
	}
	f.note(q, got, err)
}

// keepUp learns what there is now, and keeps small what would grow: every event is
// delivered to every endpoint, and a replay sends all again.
func (f *fuzzer) keepUp(r *rand.Rand, q question, got reply) {
	path, _, _ := strings.Cut(q.path, "?")
	if q.method == http.MethodDelete {
		f.world.forget(path)
		return
	}
	f.world.learn(r, path, got.header, got.body)
	if q.method != http.MethodPost {
		return
	}
	place := strings.TrimSuffix(q.op.path, "/") + "/{id}"
	if old := f.world.crowded(place, crowd); old != "" && f.tidy(http.MethodDelete, place, old) {
		f.world.forget(old)
	}
	if made := got.header.Get("Location"); made != "" && r.IntN(3) > 0 {
		f.tidy(http.MethodPost, place+"/cancel", made+"/cancel")
	}
}

// tidy makes a request if there is an operation for it.
func (f *fuzzer) tidy(method, template, path string) bool {
	i := slices.IndexFunc(f.operations, func(o operation) bool { return o.method == method && o.path == template })
	if i < 0 {
		return false
	}
	q := question{op: &f.operations[i], method: method, path: path, header: http.Header{"Authorization": {"Bearer " + f.svc.token}}}
	got, err := f.send(q)
	if err == nil {
		err = f.check(q, got)
	}
	f.note(q, got, err)
	return true
}

func (f *fuzzer) send(q question) (reply, error) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(f.t.Context()), q.method, f.svc.base, bytes.NewReader(q.body))
	if err != nil {
		return reply{}, err
	}
	req.URL = &url.URL{Scheme: "http", Host: req.URL.Host, Opaque: q.path}
	req.Header = q.header
	if q.chunked && len(q.body) > 0 {
		req.ContentLength = -1
	}
	res, err := f.client.Do(req)
	if err != nil {
		if len(q.body) > 1<<20 {
			return reply{}, nil // it was cut off before all was sent
		}
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, body}, err
}
