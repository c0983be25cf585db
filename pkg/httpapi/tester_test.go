package httpapi

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/signature"
)

const testSecret = "optional-secret-for-signatures"

// received is a request as a receiver has seen it.
type received struct {
	header http.Header
	body   string
}

// newReceiver answers each request with the status and what else answer writes.
func newReceiver(t *testing.T, status int, answer func(http.ResponseWriter)) (url string, got chan received) {
	t.Helper()
	got = make(chan received, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- received{r.Header, string(body)}
		if answer != nil {
			answer(w)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

// payload decodes what arrived, after its signature has been checked.
func (r received) payload(t *testing.T, key string) map[string]any {
	t.Helper()
	verifier, err := signature.New(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(r.header, []byte(r.body)); err != nil {
		t.Error(err)
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAURLIsTestedAsDocumented(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	url, got := newReceiver(t, 200, nil)
	answer := a.post(t, testPath, `{"url":"`+url+`","test_data":{"custom":"<test> & data"},"secret_key":"`+testSecret+`"}`)
	told := answer.json(t, 200)
	if diff := cmp.Diff([]string{"success", "status_code", "response_time_ms", "error_message"}, keysOf(t, answer.body)); diff != "" {
		t.Error(diff)
	}
	if took, _ := told["response_time_ms"].(float64); told["success"] != true || told["status_code"] != 200.0 || took <= 0 || told["error_message"] != nil {
		t.Errorf("got %s", answer.body)
	}
	arrived := <-got
	p := arrived.payload(t, testSecret)
	want := map[string]any{
		"event_type": event.WebhookTest, "event_id": arrived.header.Get("X-Sonicus-Event-ID"), "timestamp": arrived.header.Get("X-Sonicus-Timestamp"),
		"data": map[string]any{"custom": "<test> & data"}, "test": true,
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	if arrived.header.Get("X-Sonicus-Event") != event.WebhookTest || arrived.header.Get("User-Agent") != "Sonicus-Webhooks/1.0" {
		t.Errorf("got %v", arrived.header)
	}
}

func TestATestNeedsNeitherDataNorSecret(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	url, got := newReceiver(t, 204, nil)
	if told := a.post(t, testPath, `{"url":"`+url+`"}`).json(t, 200); told["success"] != true {
		t.Errorf("got %v", told)
	}
	arrived := <-got
	if arrived.header.Get("X-Sonicus-Signature") != "" || !strings.Contains(arrived.body, `"data":{}`) {
		t.Errorf("got %v %s", arrived.header, arrived.body)
	}
}

func TestATestTellsNothingOfTheReceiverButItsStatus(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for status, message := range map[int]string{
		500: "receiver answered 500", 302: "receiver answered 302, redirects are not followed", 410: "receiver answered 410, it wants no more deliveries",
	} {
		url, got := newReceiver(t, status, func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://canary.example/")
			w.Header().Set("X-Canary", "canary")
			w.Header().Set("Retry-After", "77")
		})
		answer := a.post(t, testPath, `{"url":"`+url+`"}`)
		told := answer.json(t, 200)
		if told["success"] != false || told["status_code"] != float64(status) || told["error_message"] != message {
			t.Errorf("got %s", answer.body)
		}
		if all := answer.body + joined(answer.header); strings.Contains(all, "canary") || answer.header.Get("Retry-After") != "" || strings.Contains(all, "127.0.0.1") {
			t.Errorf("leaked: %s", all)
		}
		if len(got) != 1 {
			t.Errorf("%d requests", len(got))
		}
	}
}

func joined(h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if name != "Date" {
			b.WriteString(name + strings.Join(h[name], " "))
		}
	}
	return b.String()
}

// ports are three on 127.0.0.1: one on which a listener counts its connections, one
// on which nobody listens, and one that lets no SYN through.
func ports(t *testing.T) (all map[string]string, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	open, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			c, err := open.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = open.Close(); <-accepting })
	closed := httptest.NewServer(nil)
	closed.Close()
	return map[string]string{
		"open": portOf(open.Addr()), "closed": portOf(closed.Listener.Addr()), "filtered": deafPort(t),
	}, connections
}

func portOf(a net.Addr) string {
	return strconv.Itoa(int(netip.MustParseAddrPort(a.String()).Port()))
}

// deafPort is one whose listener has no room for another connection: what
// connects to it waits.
func deafPort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(name.(*syscall.SockaddrInet4).Port)
	only, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = only.Close() })
	return port
}

// A name in the URL of a stored endpoint stands for one that resolved to a public
// address when it was stored: it is refused by the address that is dialled.
func TestRefusedTargetsAnswerAlikeWhateverListensThere(t *testing.T) {
	t.Parallel()
	a := newAPIFor(t, pgtest.New(t), netip.MustParsePrefix("10.0.0.0/8"))
	id := strings.TrimPrefix(a.post(t, endpointsPath, `{"url":"https://93.184.216.34/","events":["*"],"name":"CRM"}`).header.Get("Location"), endpointsPath+"/")
	byPort, connections := ports(t)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		answers := map[string]map[string]string{}
		for kind, port := range byPort {
			target := "http://" + host + ":" + port + "/"
			a.change(t, `UPDATE sonicus.endpoints SET url = '`+target+`'`)
			for way, c := range map[string]call{
				"url":      {path: testPath, body: `{"url":"` + target + `"}`},
				"endpoint": {path: endpointsPath + "/" + id + "/test"},
			} {
				a.testLimits.recent = nil
				c.method, c.key, c.header = "POST", bootstrapKey, map[string]string{"X-Request-Id": "6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11"}
				got := a.do(t, c)
				if answers[way] == nil {
					answers[way] = map[string]string{}
				}
				answers[way][kind] = strconv.Itoa(got.status) + got.body + joined(got.header)
			}
		}
		for way, want := range map[string]string{"url": `"code":"blocked_address"`, "endpoint": `"response_time_ms":0,"error_message":"target refused: `} {
			got := answers[way]
			if !strings.Contains(got["open"], want) || got["open"] != got["closed"] || got["open"] != got["filtered"] {
				t.Errorf("%s, %s: %v", way, host, got)
			}
		}
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections", n)
	}
}

func TestURLsAreTakenByTheSameRulesAtTheTestAsAtTheRegistration(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, bad := range badEndpoint["url"] {
		a.testLimits.recent = nil
		quoted, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		want := a.post(t, endpointsPath, `{"name":"CRM","events":["*"],"url":`+string(quoted)+`}`)
		got := a.post(t, testPath, `{"url":`+string(quoted)+`}`)
		var registered, tested document
		if json.Unmarshal([]byte(want.body), &registered) != nil || json.Unmarshal([]byte(got.body), &tested) != nil {
			t.Fatalf("%s: %s %s", quoted, want.body, got.body)
		}
		if diff := cmp.Diff(registered.Errors, tested.Errors); diff != "" || got.status != 422 {
			t.Errorf("%s: %d %s", quoted, got.status, diff)
		}
	}
}

func TestDataOfATestIsBounded(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for code, data := range map[string]string{
		"too_large": `{"a":"` + strings.Repeat("x", event.MaxPayload) + `"}`, "wrong_type": `[]`, "out_of_range": `{"a":1e999}`, "duplicate_key": `{"a":1,"a":2}`,
	} {
		a.post(t, testPath, `{"url":"`+hook+`","test_data":`+data+`}`).problem(t, 422, code)
	}
	a.post(t, testPath, `{"url":"`+hook+`","secret_key":"short"}`).problem(t, 422, "weak_secret")
}

func TestAnEndpointIsTestedAsItWouldGetEventsAndItsHealthStays(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for status, state := range map[int]string{204: "pause", 500: "disable", 410: "enable"} {
		url, got := newReceiver(t, status, nil)
		location := a.post(t, endpointsPath, `{"url":"`+url+`","events":["organization.created"],"name":"CRM","secret_key":"`+testSecret+`","headers":{"X-Tenant":"acme"}}`).header.Get("Location")
		a.post(t, location+"/"+state, "").json(t, 200)
		before := a.get(t, location)
		told := a.post(t, location+"/test", "").json(t, 200)
		if told["status_code"] != float64(status) || told["success"] != (status < 300) {
			t.Errorf("%s: %v", state, told)
		}
		arrived := <-got
		p := arrived.payload(t, testSecret)
		if arrived.header.Get("X-Tenant") != "acme" || p["event_type"] != event.OrganizationCreated || p["test"] != true {
			t.Errorf("%s: %v %s", state, arrived.header, arrived.body)
		}
		after := a.get(t, location)
		if before.body != after.body || before.header.Get("ETag") != after.header.Get("ETag") {
			t.Errorf("%s: %s\n%s", state, before.body, after.body)
		}
	}
	a.count(t, 0, `sonicus.events`)
}

// count wants so many rows.
func (a *api) count(t *testing.T, want int, from string) {
	t.Helper()
	if n := a.rows(t, from); n != want {
		t.Errorf("%s: %d rows, want %d", from, n, want)
	}
}

func TestTheSampleOfEveryTypeCanBeSent(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	url, got := newReceiver(t, 204, nil)
	location := a.post(t, endpointsPath, `{"url":"`+url+`","events":["*"],"name":"CRM"}`).header.Get("Location")
	for _, eventType := range event.Types() {
		a.testLimits.recent = nil
		a.post(t, location+"/test", `{"event_type":"`+eventType+`"}`).json(t, 200)
		arrived := <-got
		if arrived.header.Get("X-Sonicus-Event") != eventType {
			t.Errorf("%s: %v", eventType, arrived.header)
		}
		valid(t, eventType, arrived.body)
	}
	for _, unknown := range []string{"", "webhook.test", "organization.*", "*"} {
		a.testLimits.recent = nil
		a.post(t, location+"/test", `{"event_type":"`+unknown+`"}`).problem(t, 422, "unknown_event_type")
	}
	a.post(t, endpointsPath+"/"+uuid.NewString()+"/test", "").problem(t, 404, "not_found")
}

func TestTestsAreLimitedPerCallerOverAllTheirRoutes(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	hasty, calm := a.createKey(t, "hasty", access.SuperAdmin), a.createKey(t, "calm", access.SuperAdmin)
	paths := []string{testPath, endpointsPath + "/" + uuid.NewString() + "/test", triggerPath}
	allowed, refused := 0, 0
	for i := range 40 {
		got := a.do(t, call{method: "POST", path: paths[i%len(paths)], key: hasty, body: "{}"})
		if got.status != 429 {
			allowed++
			continue
		}
		refused++
		if d := got.problem(t, 429, "rate_limited"); !strings.Contains(d.Detail, "tests") || !strings.Contains(d.Detail, strconv.Itoa(testsAtOnce)+" a minute") {
			t.Errorf("told %q", d.Detail)
		}
		if after, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || after < 1 || after > 6 {
			t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
		}
	}
	if allowed < testsAtOnce || refused == 0 {
		t.Errorf("%d allowed, %d refused", allowed, refused)
	}
	if got := a.do(t, call{method: "POST", path: testPath, key: calm, body: "{}"}); got.status != 422 {
		t.Errorf("another key: %d", got.status)
	}
	if got := a.do(t, call{method: "GET", path: endpointsPath, key: hasty}); got.status != 200 {
		t.Errorf("another route: %d", got.status)
	}
}

func TestATestIsTriggeredForAllWhoWantOrganizations(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	org := a.post(t, organizationsPath, fullOrganization("a.example.com")).json(t, 201)["id"].(string)
	register := func(more string) string {
		t.Helper()
		location := a.post(t, endpointsPath, `{"url":"`+hook+`","name":"CRM",`+more+`}`).header.Get("Location")
		return strings.TrimPrefix(location, endpointsPath+"/")
	}
	want := map[string]bool{
		register(`"events":["organization.created"]`): true, register(`"events":["organization.*"]`): true, register(`"events":["*"]`): true,
		register(`"events":["*"],"organization_id":"` + org + `","ordering":"organization"`): true,
	}
	register(`"events":["webhook.*"]`)
	off := register(`"events":["*"]`)
	a.post(t, endpointsPath+"/"+off+"/disable", "").json(t, 200)

	got := a.post(t, triggerPath, "")
	told := got.json(t, 202)
	if diff := cmp.Diff([]string{"message", "test_organization_id", "event_id", "deliveries"}, keysOf(t, got.body)); diff != "" {
		t.Error(diff)
	}
	if told["message"] != "Test webhook triggered successfully" || told["test_organization_id"] != "test-org-12345" || told["deliveries"] != 4.0 {
		t.Errorf("got %s", got.body)
	}
	var deliveries []struct {
		Endpoint string `db:"endpoint_id"`
		Event    string `db:"event_id"`
		Payload  string `db:"payload"`
		Test     bool   `db:"test"`
	}
	if err := a.db.Select(&deliveries, `SELECT endpoint_id, event_id, payload, test FROM sonicus.webhook_deliveries WHERE status = 'pending'`); err != nil {
		t.Fatal(err)
	}
	for _, d := range deliveries {
		if !want[d.Endpoint] || d.Event != told["event_id"] || !d.Test {
			t.Errorf("got %+v", d)
		}
		delete(want, d.Endpoint)
		valid(t, event.OrganizationCreated, d.Payload)
		if !strings.Contains(d.Payload, `{"organization":{"id":"test-org-12345","name":`) || !strings.HasSuffix(d.Payload, `,"test":true}`) {
			t.Errorf("got %s", d.Payload)
		}
	}
	if len(want) > 0 {
		t.Errorf("not sent to %v", want)
	}
	a.count(t, 4, `sonicus.queue`)
	for _, d := range a.get(t, deliveriesPath).json(t, 200)["data"].([]any) {
		if shown := d.(map[string]any); shown["test"] != true || shown["organization_id"] != nil {
			t.Errorf("shown as %v", shown)
		}
	}
	if broken, err := outbox.Verify(t.Context(), a.db); err != nil || len(broken) > 0 {
		t.Errorf("the books are broken: %v, %v", broken, err)
	}
	a.count(t, 1, `sonicus.audit_log WHERE action = 'webhook.trigger_test' AND object_type = 'event' AND object_id = '`+told["event_id"].(string)+`'
		AND after::jsonb = '{"event_type": "organization.created", "deliveries": 4}'`)
}
