package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/sonicus/webhooks/pkg/signature"
)

// secretKey signs for the receivers of these tests.
const secretKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// arrival is a request as a receiver saw it.
type arrival struct {
	at     time.Time
	header http.Header
	body   string
	status int // what was answered
	method string
	target string // path and query
}

// receiver is a real HTTP server that keeps every request it got.
type receiver struct {
	*httptest.Server
	t      *testing.T
	answer func(n int, r *http.Request) int // n counts requests from 1
	header func(n int, h http.Header)       // of the answer; nil: none
	judge  func(arrival) int                // instead of answer, once the body is read; nil: none

	mu       sync.Mutex
	arrivals []arrival
	begun    int
}

// newReceiver answers as told; nil means always 204.
func newReceiver(t *testing.T, answer func(n int, r *http.Request) int) *receiver {
	t.Helper()
	if answer == nil {
		answer = func(int, *http.Request) int { return http.StatusNoContent }
	}
	r := &receiver{t: t, answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the dispatcher was killed in the middle of the request
	}
	r.mu.Lock()
	r.begun++
	n := r.begun
	r.mu.Unlock()
	a := arrival{at: at, header: req.Header, body: string(body), method: req.Method, target: req.RequestURI}
	if a.status = r.answer(n, req); r.judge != nil {
		a.status = r.judge(a)
	}
	if r.header != nil {
		r.header(n, w.Header())
	}
	w.WriteHeader(a.status)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrivals = append(r.arrivals, a)
}

// got returns the requests so far.
func (r *receiver) got() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]arrival(nil), r.arrivals...)
}

// begunRequests counts those too that are not answered yet.
func (r *receiver) begunRequests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun
}

// await waits for n requests and returns all.
func (r *receiver) await(n int) []arrival {
	r.t.Helper()
	eventually(r.t, "the receiver's requests", func() bool { return len(r.got()) >= n })
	return r.got()
}

// verify checks both signatures with the public package, and the Standard
// Webhooks one with that project's own library.
func (a arrival) verify(t *testing.T) {
	t.Helper()
	v, err := signature.New(secretKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.VerifySonicus(a.header, []byte(a.body)); err != nil {
		t.Errorf("X-Sonicus-Signature: %v", err)
	}
	if err := v.VerifyStandard(a.header, []byte(a.body)); err != nil {
		t.Errorf("webhook-signature: %v", err)
	}
	oracle, err := standardwebhooks.NewWebhook(secretKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := oracle.Verify([]byte(a.body), a.header); err != nil {
		t.Errorf("webhook-signature, by the standard-webhooks library: %v", err)
	}
}
