package webhook_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/webhook"
)

// counted starts a receiver and counts its open connections.
func counted(t testing.TB, h http.HandlerFunc) (s *httptest.Server, open, opened *atomic.Int64) {
	t.Helper()
	open, opened = new(atomic.Int64), new(atomic.Int64)
	s = httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, open, opened
}

func TestIdleConnectionsPerHostAreBounded(t *testing.T) {
	t.Parallel()
	const inFlight, kept = 64, 4
	arrived, release := make(chan struct{}), make(chan struct{})
	s, open, _ := counted(t, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	})
	sender := newSender(t, webhook.Options{IdlePerHost: kept})
	var sends sync.WaitGroup
	for range inFlight {
		sends.Go(func() { wantReason(t, sender.Send(t.Context(), request(s.URL)), "") })
	}
	for range inFlight { // all of them at once: none waits for another
		<-arrived
	}
	close(release)
	sends.Wait()
	eventually(t, func() bool { return open.Load() <= kept }, "idle connections per host")
	sender.CloseIdle()
	eventually(t, func() bool { return open.Load() == 0 }, "CloseIdle")
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	s, _, opened := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 60<<10)) // more than is kept, less than is read
	})
	sender := newSender(t, webhook.Options{})
	for range 20 {
		wantReason(t, sender.Send(t.Context(), request(s.URL)), "")
	}
	if n := opened.Load(); n > 2 {
		t.Errorf("%d connections for 20 requests", n)
	}
}

func TestIdleConnectionsEndByThemselves(t *testing.T) {
	t.Parallel()
	s, open, _ := counted(t, func(http.ResponseWriter, *http.Request) {})
	sender := newSender(t, webhook.Options{})
	wantReason(t, sender.Send(t.Context(), request(s.URL)), "")
	eventually(t, func() bool { return open.Load() == 0 }, "the idle limit")
}

// eventually polls, since connections close in the background.
func eventually(t testing.TB, done func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}
