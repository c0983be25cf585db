package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// replays is a service with n deliveries that were given up, and their receiver.
type replays struct {
	*service
	receiver *receiver
	endpoint string
	living   []*process
	kills    int
	cut      map[string]int
}

const replayConcurrency = 64

func newReplays(t *testing.T, n int) *replays {
	t.Helper()
	s := &replays{service: start(t, quick(settings{"SONICUS_DISPATCH_CONCURRENCY": fmt.Sprint(replayConcurrency)})), cut: map[string]int{}}
	s.receiver = newReceiver(t, nil)
	s.endpoint = s.service.endpoint(s.receiver.URL, map[string]any{"events": []string{"organization.*"}, "timeout_seconds": 1, "max_retries": 50})
	p := newPublisher(s.service)
	for left := n; left > 0; left -= 500 {
		if err := p.publish(organizations(min(left, 500))...); err != nil {
			t.Fatal(err)
		}
	}
	for _, statement := range []string{`DELETE FROM sonicus.queue`, `UPDATE sonicus.deliveries SET status = 'failed', failure_reason = 'canceled'`, `ANALYZE sonicus.deliveries`} {
		if _, err := s.db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// ask makes a call about replays and returns the replay.
func (s *replays) ask(status int, method, path string, body any) map[string]any {
	s.t.Helper()
	got, answer, err := s.call(method, "/api/v1/webhooks/replays"+path, body)
	if err != nil || got != status {
		s.t.Fatalf("%s %s: %d %v %v", method, path, got, answer, err)
	}
	return answer
}

// reaches waits until a replay has made so many deliveries, for as long as it goes on.
func (s *replays) reaches(id any, want float64) {
	s.t.Helper()
	for last := -1.0; last < want; {
		eventually(s.t, "the replay to come on", func() bool {
			now := s.ask(http.StatusOK, http.MethodGet, fmt.Sprint("/", id), nil)["created"].(float64)
			came := now > last
			last = max(last, now)
			return came
		})
	}
}

// kill ends a dispatcher in the middle of its work, and starts another one.
func (s *replays) kill() {
	s.living[0].kill()
	s.kills++
	for _, id := range s.leased() {
		s.cut[id]++
	}
	s.living = append(s.living[1:], s.dispatcher())
}

func TestReplayThatIsPausedAndWhoseDispatchersAreKilledMakesEachDeliveryOnce(t *testing.T) {
	t.Parallel()
	n, rate := 5000, 1000
	if os.Getenv("SONICUS_TEST_FULL") == "1" {
		n, rate = 100_000, 2000
	}
	s := newReplays(t, n)
	asked := map[string]any{"mode": "failed", "endpoint_id": s.endpoint, "since": time.Now().Add(-time.Hour).Format(time.RFC3339), "rate_limit": rate, "dry_run": true}
	if got := s.ask(http.StatusOK, http.MethodPost, "", asked); got["matched"] != float64(n) || got["state"] != "dry_run" || s.count(`sonicus.replays`) != 0 {
		t.Errorf("rehearsal: %v", got)
	}
	s.living = []*process{s.dispatcher(), s.dispatcher()}
	asked["dry_run"] = false
	began := time.Now()
	made := s.ask(http.StatusAccepted, http.MethodPost, "", asked)
	id := made["id"]
	if made["matched"] != float64(n) || made["state"] != "running" {
		t.Errorf("asked for: %v", made)
	}
	s.reaches(id, float64(n/5))

	paused := s.ask(http.StatusOK, http.MethodPost, fmt.Sprint("/", id, "/pause"), nil)
	s.kill()
	rest := s.count(`sonicus.deliveries WHERE replay_id = $1`, id)
	s.drainedAll()
	if now := s.count(`sonicus.deliveries WHERE replay_id = $1`, id); now != rest || float64(now) != paused["created"] || now == 0 || now >= n {
		t.Errorf("%d made when it was paused, %d a while later, %v counted", rest, now, paused["created"])
	}
	s.ask(http.StatusOK, http.MethodPost, fmt.Sprint("/", id, "/resume"), nil)
	for _, share := range []int{2, 3, 4} {
		s.reaches(id, float64(n*share/5))
		s.kill()
	}
	s.reaches(id, float64(n))
	eventually(t, "the replay to end", func() bool { return s.ask(http.StatusOK, http.MethodGet, fmt.Sprint("/", id), nil)["state"] == "done" })
	took := time.Since(began)
	s.drainedAll()
	s.exactly(id, n, rate)
	t.Logf("%d deliveries at %d per second made within %s, paused once, %d dispatchers killed; all arrived within %s", n, rate, took.Round(time.Second), s.kills, time.Since(began).Round(time.Second))
}

// drainedAll waits for an empty queue for as long as it gets shorter.
func (s *replays) drainedAll() {
	s.t.Helper()
	for left := s.count(`sonicus.queue`); left > 0; {
		eventually(s.t, "the queue to get shorter", func() bool { now := s.count(`sonicus.queue`); less := now < left; left = min(left, now); return less })
	}
}

// exactly checks that a replay has made one delivery of each of n events, that no
// second has more than the rate, and that they arrived.
func (s *replays) exactly(id any, n, rate int) {
	s.t.Helper()
	ended := s.ask(http.StatusOK, http.MethodGet, fmt.Sprint("/", id), nil)
	if ended["created"] != float64(n) {
		s.t.Errorf("counted %v", ended)
	}
	for what, from := range map[string]string{
		"deliveries": `sonicus.deliveries WHERE replay_id = $1 AND generation = 2 AND status = 'sent'`,
		"events":     `(SELECT DISTINCT d.event_id FROM sonicus.deliveries d WHERE d.replay_id = $1) e`,
	} {
		if got := s.count(from, id); got != n {
			s.t.Errorf("%d %s, want %d", got, what, n)
		}
	}
	var most int
	err := s.db.GetContext(s.t.Context(), &most, `SELECT max(n) FROM (
		SELECT sum(count(*)) OVER (ORDER BY created_at RANGE BETWEEN CURRENT ROW AND interval '999999 microseconds' FOLLOWING) AS n
		FROM sonicus.deliveries WHERE replay_id = $1 GROUP BY created_at) s`, id)
	if err != nil || most > rate {
		s.t.Errorf("%d made within a second at %d per second: %v", most, rate, err)
	}
	events := map[string]bool{}
	for _, a := range s.receiver.got() {
		events[a.header.Get("webhook-id")] = true
	}
	if len(events) != n {
		s.t.Errorf("%d of %d events arrived", len(events), n)
	}
	s.withinDuplicates([]*receiver{s.receiver}, s.cut, s.kills*replayConcurrency)
	s.t.Logf("at most %d made within a second", most)
	s.verified()
}

func TestReplayFromTheCommandLine(t *testing.T) {
	t.Parallel()
	const n = 40
	s := newReplays(t, n)
	for _, wrong := range [][]string{{"--since", "yesterday"}, {}, {"--since", "1h", "--mode", "some"}, {"--since", "1h", "--rate", "fast"}, {"--since", "1h", "--endpoint", "x"}} {
		if code, _, stderr := s.run("dispatcher", append([]string{"replay"}, wrong...)...); code != 2 || !strings.Contains(stderr, "usage:") {
			t.Errorf("%v: exit code %d: %s", wrong, code, stderr)
		}
	}
	if code, stdout, stderr := s.run("dispatcher", "replay", "--since", "1h", "--dry-run"); code != 0 || stdout != fmt.Sprintf("%d deliveries match; nothing was written\n", n) {
		t.Errorf("rehearsal: exit code %d: %s%s", code, stdout, stderr)
	}

	// Nobody does it yet: it is asked for, and left.
	cmd := exec.Command(filepath.Join(home, "bin", "dispatcher"), "replay", "--since", "1h", "--rate", "100")
	var out strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replay to be asked for", func() bool {
		return s.count(`sonicus.replays WHERE state = 'running' AND requested_by = 'command line'`) == 1
	})
	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "it goes on; to end it: dispatcher replay --cancel ") {
		t.Errorf("%v: %s", err, out.String())
	}
	_, id, _ := strings.Cut(strings.TrimSpace(out.String()), "--cancel ")
	if code, stdout, stderr := s.run("dispatcher", "replay", "--cancel", id); code != 0 || !strings.Contains(stdout, "is canceled: 0 of 40") {
		t.Errorf("cancel: exit code %d: %s%s", code, stdout, stderr)
	}

	s.dispatcher()
	code, stdout, stderr := s.run("dispatcher", "replay", "--since", "1h", "--status", "failed", "--event-type", "organization.created", "--endpoint", s.endpoint, "--rate", "1000", "--json")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var last map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || code != 0 || last["state"] != "done" || last["created"] != float64(n) {
		t.Errorf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if got := s.receiver.await(n); len(got) != n {
		t.Errorf("%d of %d arrived", len(got), n)
	}
	s.drainedAll()
	s.verified()
}
