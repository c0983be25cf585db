package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
)

// blocks returns the fenced blocks of a language in the README.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		found = append(found, m[1])
	}
	return found
}

func TestMonitoringQueriesOfTheReadmeAnswer(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	good := newReceiver(t, nil)
	bad := newReceiver(t, func(int, *http.Request) int { return http.StatusInternalServerError })
	svc.endpoint(good.URL, nil)
	svc.endpoint(bad.URL, map[string]any{"max_retries": 0})
	paused := svc.endpoint(good.URL, nil)
	if _, err := svc.db.Exec(`UPDATE sonicus.endpoints SET paused_at = now() WHERE id = $1`, paused); err != nil {
		t.Fatal(err)
	}
	svc.organization("queries.example")
	died := `UPDATE sonicus.queue SET lease_token = 1, lease_until = clock_timestamp() WHERE endpoint_id <> $1` // under these leases
	if _, err := svc.db.Exec(died, paused); err != nil {
		t.Fatal(err)
	}
	svc.dispatcher()
	eventually(t, "the deliveries to end but for the paused one", func() bool { return svc.count("sonicus.queue") == 1 })
	eventually(t, "the statistics to be written", func() bool { return svc.count("sonicus.delivery_stats") > 0 })

	queries := blocks(t, "sql")
	if len(queries) < 5 {
		t.Fatalf("%d queries in the README, want five", len(queries))
	}
	for _, q := range queries {
		if n, err := rowsOf(svc.db, q); err != nil || n == 0 {
			t.Errorf("%d rows, %v, although there is something to see, from\n%s", n, err, q)
		}
	}
}

func rowsOf(db *sqlx.DB, query string) (n int, err error) {
	rows, err := db.Query(query)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}

func TestReceiverOfTheReadmeCompilesAndVerifies(t *testing.T) {
	t.Parallel()
	port := runReadmeReceiver(t)
	svc := start(t, quick(nil))
	svc.dispatcher()
	svc.endpoint("http://127.0.0.1:"+port+"/webhook", nil)
	svc.endpoint("http://127.0.0.1:"+port+"/webhook", map[string]any{"secret_key": "another secret, 24 bytes or more", "max_retries": 0})
	svc.organization("readme.example")
	svc.drained()
	for status, code := range map[string]int{"sent": http.StatusNoContent, "failed": http.StatusUnauthorized} {
		if n := svc.count(`sonicus.webhook_deliveries WHERE status = $1 AND http_status_code = $2`, status, code); n != 1 {
			t.Errorf("%d deliveries are %s with %d, want 1", n, status, code)
		}
	}
}

// runReadmeReceiver builds and runs the receiver that the README shows, with
// secretKey, and returns its port.
func runReadmeReceiver(t *testing.T) (port string) {
	t.Helper()
	programs := blocks(t, "go")
	if len(programs) != 1 {
		t.Fatalf("%d Go programs in the README, want one", len(programs))
	}
	dir, err := os.MkdirTemp(".", "_readme-") // inside the module, to import pkg/signature
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := strings.Replace(programs[0], `":3001"`, `"127.0.0.1:"+os.Getenv("PORT")`, 1)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "receiver")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "./"+dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	port = freePort(t)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), "WEBHOOK_SECRET="+secretKey, "PORT="+port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "the receiver to listen", func() bool { return listens("127.0.0.1:" + port) })
	return port
}

// TestCurlOfTheReadme sends the bodies of the README's curl commands.
func TestCurlOfTheReadme(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	script := blocks(t, "bash")[0]
	script = strings.ReplaceAll(script, "http://127.0.0.1:18100", svc.base)
	script = strings.ReplaceAll(script, "curl ", "curl --silent --show-error --write-out '%{http_code}\\n' ")
	cmd := exec.Command("bash", "-euc", script)
	cmd.Env = append(os.Environ(), "TOKEN="+svc.token)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "}201\n") + strings.Count(string(out), "}\n201\n"); n != 2 || !strings.Contains(string(out), "Webhook endpoint created successfully") {
		t.Errorf("want two answers 201, got\n%s", out)
	}
}

// TestTourOfTheReadme runs the tour as it stands there. Every call must be answered
// 2xx, or curl says so, and everything that it publishes must be delivered.
func TestTourOfTheReadme(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	svc.dispatcher()
	r := newReceiver(t, nil)
	script := blocks(t, "bash")[1]
	if lines := strings.Count(script, "\n"); lines > 45 {
		t.Errorf("the tour has %d lines", lines)
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "TOKEN="+svc.token, "URL="+svc.base, "RECEIVER="+r.URL+"/webhook")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	eventually(t, "the replay to be over", func() bool { return svc.count(`sonicus.replays WHERE state = 'done'`) == 1 })
	svc.drained()
	if all, sent := svc.count(`sonicus.webhook_deliveries`), svc.count(`sonicus.webhook_deliveries WHERE status = 'sent'`); all < 3 || sent != all || len(r.got()) != all+1 { // and one test
		t.Errorf("%d of %d deliveries are sent, in %d requests", sent, all, len(r.got()))
	}
	svc.booksAgree()
}

func TestFilterOfTheReadmeChooses(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	filters := blocks(t, "json")
	if len(filters) != 1 {
		t.Fatalf("%d filters in the README, want one", len(filters))
	}
	for domain, want := range map[string]bool{"acme.example": true, "other.example": false} {
		payload := map[string]any{"data": map[string]any{"organization": map[string]any{"subscription_tier": "premium", "domain": domain, "max_users": 2}}}
		status, told, err := svc.call(http.MethodPost, "/api/v1/webhooks/filters/test", map[string]any{"filter": json.RawMessage(filters[0]), "payload": payload})
		if err != nil || status != http.StatusOK || told["matches"] != want {
			t.Errorf("%s: %d %v %v, want %v", domain, status, told, err, want)
		}
	}
}
