package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sinkPorts: every endpoint of a row gets a port of its own, as receivers have
	// hosts of their own; connection pools are kept per host and port.
	sinkPorts = 50
	// slowAnswer is how long /slow/ thinks.
	slowAnswer = 200 * time.Millisecond
	// gcPercent is the dispatcher's own, for everything that it is compared with.
	gcPercent = 400
)

// sinkAddresses is what the sink prints when it listens.
type sinkAddresses struct {
	Control string   `json:"control"`
	Ports   []string `json:"ports"` // host:port
}

// sinkCounts is the answer of the control address.
type sinkCounts struct {
	At       int64            `json:"at"` // nanoseconds since 1970
	InFlight int64            `json:"in_flight"`
	Requests map[string]int64 `json:"requests"` // by label
}

// arrival is one request to /timed/.
type arrival struct {
	EventID string `json:"event_id"`
	At      int64  `json:"at"` // nanoseconds since 1970, when its header had been read
}

// sink answers POSTs to /<behaviour>/<label>/… and counts them by label. The
// behaviours are ok, slow, hang and timed.
type sink struct {
	counts   sync.Map // label → *atomic.Int64
	inFlight atomic.Int64
	mu       sync.Mutex
	arrivals []arrival
}

var sinkAnswer = []byte("ok\n")

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	_, rest, _ := strings.Cut(r.URL.Path, "/")
	behaviour, rest, _ := strings.Cut(rest, "/")
	label, _, _ := strings.Cut(rest, "/")
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // the client is gone
	}
	s.count(label)
	switch behaviour {
	case "slow":
		waitFor(r.Context(), slowAnswer)
	case "hang":
		<-r.Context().Done() // until the client gives up
		return
	case "timed":
		s.mu.Lock()
		s.arrivals = append(s.arrivals, arrival{EventID: r.Header.Get("X-Sonicus-Event-ID"), At: at.UnixNano()})
		s.mu.Unlock()
	}
	_, _ = w.Write(sinkAnswer) // a client that hung up counts itself
}

func (s *sink) count(label string) {
	n, ok := s.counts.Load(label)
	if !ok {
		n, _ = s.counts.LoadOrStore(label, new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1) //nolint:errcheck // nothing else is stored
}

func (s *sink) control(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/arrivals" {
		s.mu.Lock()
		arrivals := s.arrivals
		s.arrivals = nil
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(arrivals) // the bench is gone: nobody is left to tell
		return
	}
	c := sinkCounts{Requests: map[string]int64{}, InFlight: s.inFlight.Load()}
	s.counts.Range(func(label, n any) bool {
		c.Requests[label.(string)] = n.(*atomic.Int64).Load() //nolint:errcheck // nothing else is stored
		return true
	})
	c.At = time.Now().UnixNano()
	_ = json.NewEncoder(w).Encode(c)
}

// runSink is the sink's process. It prints its addresses and answers until it is
// told to stop.
func runSink(ctx context.Context, stdout io.Writer) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	s := &sink{}
	failed := make(chan error, sinkPorts+1)
	control, err := listenAndServe(ctx, http.HandlerFunc(s.control), failed)
	if err != nil {
		return err
	}
	addresses := sinkAddresses{Control: control}
	for range sinkPorts {
		address, err := listenAndServe(ctx, s, failed)
		if err != nil {
			return err
		}
		addresses.Ports = append(addresses.Ports, address)
	}
	if err := json.NewEncoder(stdout).Encode(addresses); err != nil {
		return fmt.Errorf("say where the sink listens: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil // what hangs is cut off with the process
	case err := <-failed:
		return err
	}
}

// listenAndServe answers on a free port of 127.0.0.1 until the process ends.
func listenAndServe(ctx context.Context, h http.Handler, failed chan<- error) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return listener.Addr().String(), nil
}

// waitFor waits for d or the end of ctx, and says whether ctx goes on.
func waitFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
