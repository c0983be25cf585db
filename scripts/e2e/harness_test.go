package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// patience bounds every wait. It is for a busy machine and says nothing of speed.
const patience = 90 * time.Second

// home is a directory with the built programs in bin, as in a checkout.
var home string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sonicus-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		build := exec.Command("go", "build", "-buildvcs=false", "-race="+fmt.Sprint(raceDetector()), "-o", filepath.Join(dir, "bin")+"/",
			"../../cmd/api", "../../cmd/dispatcher", "../demo")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		home = dir
		return m.Run()
	}())
}

// raceDetector says whether this test binary has it: then the programs get it too.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// service is an api, dispatchers and their database.
type service struct {
	t     *testing.T
	env   []string
	url   string // of the database
	db    *sqlx.DB
	token string
	api   *process
	base  string // http://host:port of the api
}

// settings are environment variables beside those that every test needs.
type settings map[string]string

// quick is a retry schedule for tests: exact, and short.
func quick(more settings) settings {
	s := settings{
		"SONICUS_RETRY_INITIAL": "100ms", "SONICUS_RETRY_MULTIPLIER": "2", "SONICUS_RETRY_MAX_INTERVAL": "400ms", "SONICUS_RETRY_JITTER": "0",
		"SONICUS_DISPATCH_POLL_INTERVAL": "100ms",
	}
	for k, v := range more {
		s[k] = v
	}
	return s
}

// start runs an api on a database of the test's own.
func start(t *testing.T, s settings) *service {
	t.Helper()
	return startOn(t, pgtest.NewURL(t), s)
}

func startOn(t *testing.T, url string, s settings) *service {
	t.Helper()
	svc := prepare(t, url, s)
	svc.startAPI()
	return svc
}

// prepare makes everything but processes.
func prepare(t *testing.T, url string, s settings) *service {
	t.Helper()
	db, err := postgres.Connect(t.Context(), url, postgres.Options{MaxOpen: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	svc := &service{t: t, url: url, db: db, token: "bootstrap-" + rand.Text() + rand.Text()}
	for k, v := range map[string]string{
		"PATH": os.Getenv("PATH"), "SONICUS_ENV": "development", "SONICUS_DATABASE_URL": url, "SONICUS_HTTP_ADDR": "127.0.0.1:0",
		"SONICUS_ADMIN_ADDR": "127.0.0.1:0", "SONICUS_ENCRYPTION_KEYS": "k1:" + base64.StdEncoding.EncodeToString(key),
		"SONICUS_BOOTSTRAP_API_KEY": svc.token, "SONICUS_EGRESS_ALLOW_CIDRS": "127.0.0.0/8", "GORACE": "halt_on_error=1",
	} {
		if _, given := s[k]; !given {
			svc.env = append(svc.env, k+"="+v)
		}
	}
	for k, v := range s {
		svc.env = append(svc.env, k+"="+v)
	}
	return svc
}

func (s *service) startAPI() {
	s.t.Helper()
	s.api = s.process("api")
	s.base = "http://" + s.api.field("api ready", "address")
}

// dispatcher starts one more dispatcher and waits until it works.
func (s *service) dispatcher() *process {
	s.t.Helper()
	p := s.process("dispatcher")
	p.field("dispatcher ready", "msg")
	return p
}

// process is a running program and what it has logged.
type process struct {
	t     *testing.T
	name  string // api or dispatcher
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	err   error         // its exit, once ended

	mu    sync.Mutex
	lines []string
}

// process starts a program. When the test ends it is stopped as an operator
// would; its log is shown if the test has failed.
func (s *service) process(name string, args ...string) *process {
	s.t.Helper()
	p := &process{t: s.t, name: name, cmd: exec.Command(filepath.Join(home, "bin", name), args...), ended: make(chan struct{})}
	p.cmd.Env = s.env
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			p.mu.Unlock()
		}
		p.err = p.cmd.Wait()
	}()
	s.t.Cleanup(func() {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(patience):
			s.t.Errorf("%s did not stop on SIGTERM", name)
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
		log := p.log()
		if strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
			s.t.Errorf("%s raced or panicked", name)
		}
		if s.t.Failed() {
			lines := strings.Split(log, "\n")
			s.t.Logf("%s %d logged (last lines):\n%s", name, p.cmd.Process.Pid, strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	if p.running() {
		_ = p.cmd.Process.Signal(s)
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill is SIGKILL: no clean-up of any kind.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// exitCode waits for the end.
func (p *process) exitCode() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("the process did not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// field waits for a log line with that message and returns one of its fields.
func (p *process) field(msg, name string) string {
	p.t.Helper()
	var value string
	eventually(p.t, fmt.Sprintf("log line %q", msg), func() bool {
		for _, l := range p.records(msg) {
			value = fmt.Sprint(l[name])
			return true
		}
		if !p.running() {
			p.t.Fatalf("ended (%v) without the log line %q:\n%s", p.err, msg, p.log())
		}
		return false
	})
	return value
}

// records returns the log lines with that message.
func (p *process) records(msg string) []map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []map[string]any
	for _, l := range p.lines {
		var record map[string]any
		if json.Unmarshal([]byte(l), &record) == nil && record["msg"] == msg {
			found = append(found, record)
		}
	}
	return found
}

// run runs a program to its end.
func (s *service) run(name string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(home, "bin", name), args...)
	var out, err bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, &out, &err
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// call makes a request of the API as the bootstrap key, and decodes the answer.
func (s *service) call(method, path string, body any) (status int, answer map[string]any, err error) {
	res, got, err := s.send(s.base, method, path, body, nil)
	if err != nil {
		return 0, nil, err
	}
	if len(got) == 0 {
		return res.StatusCode, nil, nil
	}
	return res.StatusCode, answer, json.Unmarshal(got, &answer)
}

// send makes a request of one of several APIs, with more headers.
func (s *service) send(base, method, path string, body any, header http.Header) (*http.Response, []byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, base+path, bytes.NewReader(b))
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	return res, got, err
}

// create expects 201.
func (s *service) create(path string, body map[string]any) map[string]any {
	s.t.Helper()
	status, answer, err := s.call(http.MethodPost, path, body)
	if err != nil || status != http.StatusCreated {
		s.t.Fatalf("POST %s: %d %v %v", path, status, answer, err)
	}
	return answer
}

// endpoint registers a receiver for organization.created.
func (s *service) endpoint(url string, more map[string]any) (id string) {
	s.t.Helper()
	body := map[string]any{"url": url, "events": []string{"organization.created"}, "name": "e2e", "secret_key": secretKey}
	for k, v := range more {
		body[k] = v
	}
	return s.create("/api/v1/webhooks/endpoints", body)["id"].(string)
}

// organization creates one and returns its id.
func (s *service) organization(domain string) (id string) {
	s.t.Helper()
	return s.create("/api/v1/organizations/", newOrganization(domain))["id"].(string)
}

func newOrganization(domain string) map[string]any {
	return map[string]any{
		"name": "Example Corporation", "display_name": "Example Corporation Inc.", "domain": domain, "primary_contact_email": "admin@" + domain,
		"subscription_tier": "premium", "subscription_status": "active", "max_users": 250, "industry": "Technology", "company_size": "50-100",
	}
}

// count counts rows.
func (s *service) count(from string, args ...any) int {
	s.t.Helper()
	var n int
	if err := s.db.GetContext(s.t.Context(), &n, `SELECT count(*) FROM `+from, args...); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// drained waits until no delivery has work left.
func (s *service) drained() {
	s.t.Helper()
	eventually(s.t, "an empty queue", func() bool {
		var n int
		return s.db.GetContext(s.t.Context(), &n, `SELECT count(*) FROM sonicus.queue`) == nil && n == 0
	})
}

// booksAgree checks the invariants.
func (s *service) booksAgree() {
	s.t.Helper()
	broken, err := outbox.Verify(s.t.Context(), s.db)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, v := range broken {
		s.t.Errorf("broken: %s: %d, for example %s", v.Invariant, v.Count, v.Example)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	within(t, patience, what, condition)
}

// within waits for a condition that has a limit of its own.
func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", limit, what)
		}
		<-tick.C
	}
}
