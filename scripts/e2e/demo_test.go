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
	"syscall"
	"testing"
	"time"
)

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
	t.Parallel()
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

func TestUpServesUntilItIsKilledAndThenLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	cmd := demo(t, "up")
	cmd.Env = append(os.Environ(), "WEBHOOK_URL="+r.URL)
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
	eventually(t, "Postgres to end with its users", func() bool {
		// The durable cluster is shared: another user may still hold it, but not for long.
		return !listens(match(t, database, `@([^/]+)/`))
	})
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
