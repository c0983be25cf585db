package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of the demo do not run in parallel: each prefers the documented
// ports, and asks afterwards whether they are free again.

// demo prepares a run of the demo in a directory that looks like a checkout.
func demo(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(home, "bin", "demo"), args...)
	cmd.Dir = home
	return cmd
}

func TestDemoShowsAVerifiedWebhookAndLeavesNothingRunning(t *testing.T) {
	out, err := demo(t).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"X-Sonicus-Signature: valid    webhook-signature: valid", `{"event_type":"organization.created"`, "sent | 204 | 1", "nothing is left running",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if url := regexp.MustCompile(`ready on http://(\S+)`).FindStringSubmatch(string(out)); url == nil || listens(url[1]) {
		t.Errorf("the api is still there: %v", url)
	}
}

func TestTwoDemosAtOnceDoNotMixUp(t *testing.T) {
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if out, err := demo(t).CombinedOutput(); err != nil || !strings.Contains(string(out), "sent | 204 | 1") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	both.Wait()
}

func TestUpTellsOfADeadChildAndEndsInOrder(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, up *exec.Cmd)
		code int
		says string
	}{
		"child killed": {func(t *testing.T, up *exec.Cmd) { t.Helper(); killChild(t, up.Process.Pid, "bin/dispatcher") }, 1, "the dispatcher has ended by itself"},
		"stopped":      {func(t *testing.T, up *exec.Cmd) { t.Helper(); _ = up.Process.Signal(syscall.SIGTERM) }, 0, "stopping"},
		"hung up":      {func(t *testing.T, up *exec.Cmd) { t.Helper(); _ = up.Process.Signal(syscall.SIGHUP) }, 0, "stopping"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := demo(t, "up")
			var out safeBuffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the service to be up", func() bool { return strings.Contains(out.String(), "export TOKEN=") })
			api := match(t, out.String(), `API\s+http://(\S+)`)
			c.end(t, cmd)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("exit code %d, want %d and %q in\n%s", code, c.code, c.says, out.String())
			}
			if listens(api) {
				t.Error("the api is still there")
			}
			if m := regexp.MustCompile(`The logs are kept in (\S+)`).FindStringSubmatch(out.String()); m != nil {
				_ = os.RemoveAll(m[1])
			} else if c.code != 0 {
				t.Error("the logs of a failed run are not kept")
			}
		})
	}
}

// killChild kills the child process of parent that runs program.
func killChild(t *testing.T, parent int, program string) {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "pid=,ppid=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		var pid, ppid int
		var args string
		if n, _ := fmt.Sscan(line, &pid, &ppid, &args); n == 3 && ppid == parent && args == program {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no child %s of %d in\n%s", program, parent, out)
}

// safeBuffer is written by a process and read by the test.
type safeBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestUpServesUntilItIsKilledAndThenLeavesNothing(t *testing.T) {
	r := newReceiver(t, nil)
	cmd := demo(t, "up")
	cmd.Env = append(os.Environ(), "WEBHOOK_URL="+r.URL, "SONICUS_CACHE_DIR="+openDir(t)) // a Postgres of its own
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := readUntil(t, stdout, "export TOKEN=")
	api := match(t, text, `API\s+(http://\S+)`)
	token := match(t, text, `export TOKEN=(\S+)`)
	database := match(t, text, `psql '(postgres://\S+)'`)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api+"/api/v1/organizations/",
		strings.NewReader(`{"name": "Acme", "domain": "acme.example", "primary_contact_email": "admin@acme.example"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Errorf("the printed token creates an organization: %d", res.StatusCode)
	}
	if got := r.await(1)[0]; !strings.Contains(got.body, `"domain":"acme.example"`) {
		t.Errorf("WEBHOOK_URL got %s", got.body)
	}

	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the api to end with its parent", func() bool { return !listens(strings.TrimPrefix(api, "http://")) })
	eventually(t, "Postgres to end with its only user", func() bool { return !listens(match(t, database, `@([^/]+)/`)) })
}

// openDir is a directory that a server's own user can reach, too.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sonicus-e2e-cache-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func listens(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func match(t *testing.T, text, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in\n%s", pattern, text)
	}
	return m[1]
}

// readUntil reads lines up to and with the one that holds want, and goes on
// reading in the background so that the writer never blocks.
func readUntil(t *testing.T, r io.Reader, want string) string {
	t.Helper()
	var text strings.Builder
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fmt.Fprintln(&text, lines.Text())
		if strings.Contains(lines.Text(), want) {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return text.String()
		}
	}
	t.Fatalf("ended without %q:\n%s", want, text.String())
	return ""
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
