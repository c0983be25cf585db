package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// ofOwn are the deliveries to the endpoints of one organization.
const ofOwn = `sonicus.webhook_deliveries d JOIN sonicus.webhook_endpoints e ON e.id = d.endpoint_id WHERE e.organization_id = $1`

// triedAgain: a receiver that fails twice gets it at the third attempt.
func triedAgain(t *testing.T, d *document) {
	row := d.delivery(t, d.flaky)
	if row["status"] != "sent" || row["attempt_count"] != int64(3) {
		t.Errorf("%v after %v attempts", row["status"], row["attempt_count"])
	}
}

func waitsGrow(t *testing.T, d *document) {
	id := d.delivery(t, d.flaky)["id"]
	var at []time.Time
	for _, a := range d.flaky.got() {
		if a.header.Get("X-Sonicus-Delivery-ID") == id {
			at = append(at, a.at)
		}
	}
	if len(at) != 3 {
		t.Fatalf("%d requests", len(at))
	}
	for i, wait := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond} { // as the harness sets it
		if gap := at[i+1].Sub(at[i]); gap < wait {
			t.Errorf("retry %d came after %s, before its %s", i+1, gap, wait)
		}
	}
}

// hangs registers two endpoints that hold their requests, by an onboarding that is
// answered meanwhile.
func (d *document) hangs(t *testing.T) (first, second *gate) {
	t.Helper()
	first, second = newGate(), newGate()
	d.onboard(t, own(newReceiver(t, first.answer), nil), own(newReceiver(t, second.answer), nil))
	return first, second
}

func callerDoesNotWait(t *testing.T, d *document) {
	first, second := d.hangs(t) // it has been answered 201 now
	for _, g := range []*gate{first, second} {
		g.holds(t, 1)
		g.let(t, 1)
	}
}

func sentAtOnce(t *testing.T, d *document) {
	first, second := d.hangs(t)
	eventually(t, "both requests to be held at once", func() bool {
		a, _ := first.atOnce()
		b, _ := second.atOnce()
		return a == 1 && b == 1
	})
	first.let(t, 1)
	second.let(t, 1)
}

func failureHindersNobody(t *testing.T, d *document) {
	for route, made := range d.organizations { // while failing and stubborn answered 502
		if made["id"] == nil {
			t.Errorf("%s: %v", route, made)
		}
	}
	nobody := newReceiver(t, nil)
	nobody.Close()
	if id := d.onboard(t, own(nobody, map[string]any{"max_retries": 0})); id == "" {
		t.Error("not created")
	}
}

func timeoutIsBounded(t *testing.T, d *document) {
	svc := d.svc.on(t)
	body := map[string]any{"url": d.unsigned.URL, "events": []string{"webhook.*"}, "name": "A"}
	if made := svc.expects(http.StatusCreated, svc.token, http.MethodPost, webhooksPath+"endpoints", body); made["timeout_seconds"] != 10.0 {
		t.Errorf("without it: %v", made)
	}
	for seconds, want := range map[int]int{0: 422, 1: 201, 30: 201, 31: 422} {
		body["timeout_seconds"] = seconds
		svc.expects(want, svc.token, http.MethodPost, webhooksPath+"endpoints", body)
	}
	g := newGate()
	slow := newReceiver(t, g.answer)
	id := d.onboard(t, own(slow, map[string]any{"timeout_seconds": 1, "max_retries": 0}))
	eventually(t, "the attempt to time out", func() bool {
		return svc.count(ofOwn+` AND d.status = 'failed' AND d.error_message LIKE 'timed out%' AND d.attempt_count = 1`, id) == 1
	})
}

func failuresAreLogged(t *testing.T, d *document) {
	logged := 0
	for _, line := range d.dispatcher.records("delivery attempted") {
		if line["url"] == d.failing.URL && line["level"] == "ERROR" && line["error"] != "" && line["error"] != nil {
			logged++
		}
	}
	if want := len(d.failing.got()); logged != want {
		t.Errorf("%d lines for %d failures", logged, want)
	}
}

// noEnvironmentEndpoint: what the environment names gets nothing.
func noEnvironmentEndpoint(t *testing.T, d *document) {
	if n := d.svc.on(t).count(`sonicus.webhook_endpoints WHERE url LIKE $1`, d.trap.URL+"%"); n > 0 || len(d.trap.got()) > 0 {
		t.Errorf("%d endpoints, %d requests", n, len(d.trap.got()))
	}
	if !strings.Contains(program(t, "Makefile"), "WEBHOOK_URL=https://… also registers that receiver") { // which its own test runs
		t.Error("make up does not tell of it")
	}
}

func breakerOpens(t *testing.T, d *document) {
	bad := newReceiver(t, always(http.StatusBadGateway))
	id := d.onboard(t, own(bad, map[string]any{"max_retries": 50, "breaker_failures": 2}))
	eventually(t, "the breaker to open", func() bool {
		return d.svc.on(t).count(`sonicus.webhook_endpoints WHERE organization_id = $1 AND breaker_state = 'open'`, id) == 1
	})
}

func sampleReceives(t *testing.T, d *document) {
	port := runReadmeReceiver(t)
	id := d.onboard(t, map[string]any{"url": "http://127.0.0.1:" + port + "/webhook", "events": []string{"*"}, "name": "sample", "secret_key": secretKey, "max_retries": 0})
	eventually(t, "the sample to take it", func() bool {
		return d.svc.on(t).count(ofOwn+` AND d.status = 'sent' AND d.http_status_code = 204`, id) == 1
	})
}

func sampleTakesUnknownTypes(t *testing.T, d *document) {
	port := runReadmeReceiver(t)
	answer := d.svc.on(t).expects(http.StatusOK, jwtFor("sampler", "super_admin"), http.MethodPost, webhooksPath+"test", map[string]any{ // of the type webhook.test
		"url": "http://127.0.0.1:" + port + "/webhook", "secret_key": secretKey, "test_data": map[string]any{},
	})
	if answer["success"] != true || answer["status_code"] != 204.0 {
		t.Errorf("answered %v", answer)
	}
}

func debugIsLogged(t *testing.T, d *document) {
	eventually(t, "a line at level debug", func() bool {
		return strings.Contains(d.svc.api.log()+d.dispatcher.log(), `"level":"DEBUG"`)
	})
}

func logFileIsWritten(t *testing.T, d *document) {
	b, err := os.ReadFile(d.logFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range []string{"request", "delivery attempted"} {
		if !strings.Contains(string(b), fmt.Sprintf(`"msg":%q`, msg)) {
			t.Errorf("the file has no line %q", msg)
		}
	}
}

func everythingAtOnce(t *testing.T, d *document) {
	triedAgain(t, d)
	waitsGrow(t, d)
	everyStatusIsSeen(t, d)
	signatureVerifies(t, d)
}
