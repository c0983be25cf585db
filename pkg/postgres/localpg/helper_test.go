package localpg

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// helperVar makes this test binary act as a program that uses a server.
const helperVar = "LOCALPG_TEST_HELPER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(helperVar); kind != "" {
		os.Exit(helperMain(kind))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir := seed.Load(); dir != nil {
			_ = os.RemoveAll(*dir)
		}
		os.Exit(code)
	}))
}

// answer is what a helper says about its server, or why it has none.
type answer struct {
	URL, Data, Error string
	Log              []string
}

// helperMain starts a server, says so, and lets go of it at the end of its input.
func helperMain(kind string) int {
	var said answer
	s, err := Start(context.Background(), Options{
		Durable: kind == "durable", Exclusive: kind == "exclusive",
		Log: func(line string) { said.Log = append(said.Log, line) },
	})
	if err != nil {
		said.Error = err.Error()
	} else {
		said.URL = s.URL("postgres")
		if s.cluster != nil {
			said.Data = s.cluster.data()
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(said)
	if err != nil {
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Close(); err != nil {
		return 1
	}
	return 0
}

// helper is such a program, running.
type helper struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

func startHelper(t *testing.T, kind, cache string, change ...func(*exec.Cmd)) *helper {
	t.Helper()
	h := &helper{cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(withoutDatabaseURL(os.Environ()), helperVar+"="+kind, "SONICUS_CACHE_DIR="+cache)
	for _, c := range change {
		c(h.cmd)
	}
	out, err := h.cmd.StdoutPipe()
	must(t, err)
	h.out = bufio.NewReader(out)
	h.stdin, err = h.cmd.StdinPipe()
	must(t, err)
	must(t, h.cmd.Start())
	t.Cleanup(h.kill)
	return h
}

func withoutDatabaseURL(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "SONICUS_DATABASE_URL=") && !strings.HasPrefix(e, "DATABASE_URL=") {
			kept = append(kept, e)
		}
	}
	return kept
}

func (h *helper) answer(t *testing.T) answer {
	t.Helper()
	var a answer
	if err := json.NewDecoder(h.out).Decode(&a); err != nil {
		t.Fatalf("the helper said nothing: %v", err)
	}
	return a
}

// close lets the helper go on to its own end.
func (h *helper) close(t *testing.T) {
	t.Helper()
	must(t, h.stdin.Close())
	if err := h.cmd.Wait(); err != nil {
		t.Fatalf("helper: %v", err)
	}
}

// kill is SIGKILL; killing twice is no harm.
func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seed is a directory with a template, so that only one test has to wait for initdb.
var (
	seed     atomic.Pointer[string]
	seedOnce sync.Mutex
)

func seedDir(t *testing.T) string {
	t.Helper()
	seedOnce.Lock()
	defer seedOnce.Unlock()
	if dir := seed.Load(); dir != nil {
		return *dir
	}
	dir := makeCacheDir(t)
	seed.Store(&dir)
	bin, as := testBinaries(t)
	tpl := template{cache: dir, bin: bin, as: as}
	lock, err := tpl.lock(t.Context())
	must(t, err)
	defer unlock(lock)
	must(t, tpl.initdb(t.Context(), filepath.Join(tpl.path(), "data")))
	return dir
}

// newCache is a cache directory of the test's own, with a template in it.
func newCache(t *testing.T) string {
	t.Helper()
	dir := emptyCache(t)
	bin, as := testBinaries(t)
	name := filepath.Base(template{bin: bin, as: as}.path())
	must(t, os.Symlink(filepath.Join(seedDir(t), name), filepath.Join(dir, name)))
	return dir
}

// emptyCache is removed once the test's last server has ended.
func emptyCache(t *testing.T) string {
	t.Helper()
	dir := makeCacheDir(t)
	t.Cleanup(func() {
		eventually(t, "every process of the cache directory ends", func() bool { return len(processesOf(dir)) == 0 })
		must(t, os.RemoveAll(dir))
	})
	return dir
}

// makeCacheDir prefers a RAM disk: each cluster is a thousand files that are made and removed again.
func makeCacheDir(t *testing.T) string {
	t.Helper()
	if hasRoom(ramDisk) {
		return makeDir(t, ramDisk)
	}
	return makeDir(t, "")
}

// openDir is a directory for programs, which a RAM disk may not let run.
func openDir(t *testing.T) string {
	t.Helper()
	dir := makeDir(t, "")
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// makeDir makes a directory that the server's user can enter, unlike t.TempDir.
func makeDir(t *testing.T, parent string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "localpg")
	must(t, err)
	dir, err = filepath.EvalSymlinks(dir)
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// start is Start with a cache directory that is given instead of taken from the environment.
func start(t *testing.T, cache string, o Options) *Server {
	t.Helper()
	s, err := tryStart(t, cache, o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func tryStart(t *testing.T, cache string, o Options) (*Server, error) {
	t.Helper()
	if o.Log == nil {
		o.Log = func(string) {}
	}
	bin, as := testBinaries(t)
	return startWith(t.Context(), o, template{cache: cache, clusters: cache, bin: bin, as: as})
}

func testBinaries(t *testing.T) (binaries, runAs) {
	t.Helper()
	as, err := serverUser()
	must(t, err)
	cache, err := cacheDir(os.Getenv, as)
	must(t, err)
	bin, err := findOrInstall(t.Context(), defaultSearch(cache), as, func(string) {})
	must(t, err)
	return bin, as
}

func query[T any](t *testing.T, url, statement string) T {
	t.Helper()
	got, err := tryQuery[T](t, url, statement)
	must(t, err)
	return got
}

func tryQuery[T any](t *testing.T, url, statement string) (got T, err error) {
	t.Helper()
	db, err := sql.Open("postgres", url)
	must(t, err)
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return got, db.QueryRowContext(ctx, statement).Scan(&got)
}

func run(t *testing.T, url, statement string) {
	t.Helper()
	db, err := sql.Open("postgres", url)
	must(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), statement)
	must(t, err)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never seen: %s", what)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// processesOf returns the processes with a directory in their command line: server, watchdog and whatever they run.
func processesOf(dir string) []string {
	out, _ := exec.Command("ps", "-ww", "-e", "-o", "pid=,stat=,command=").Output()
	var found []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if strings.Contains(line, dir) && len(fields) > 1 && !strings.HasPrefix(fields[1], "Z") {
			found = append(found, line)
		}
	}
	return found
}

// asUser runs a helper as another user, from a copy of this binary that he may read.
func asUser(t *testing.T, as runAs) func(*exec.Cmd) {
	t.Helper()
	program := filepath.Join(openDir(t), "helper")
	content, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(program, content, 0o755))
	return func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = program, []string{program}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)}}
	}
}
