package outbox_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestHintsArriveAndSurviveALostConnection(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	db, err := postgres.Connect(t.Context(), url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wake := make(chan struct{}, 1)
	go func() { _ = outbox.Listen(ctx, url, slog.New(slog.DiscardHandler), wake) }()
	h := outbox.NewHinter(db, slog.New(slog.DiscardHandler))
	go h.Run(ctx)

	await(t, wake, "the connection")
	hintUntilHeard(t, h, wake)
	exec(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sonicus-listen' AND datname = current_database()`)
	await(t, wake, "the loss of the connection")
	hintUntilHeard(t, h, wake)
}

// hintUntilHeard hints every 50 ms: a hint is allowed to get lost while the
// connection is being made, but not for long.
func hintUntilHeard(t *testing.T, h *outbox.Hinter, wake <-chan struct{}) {
	t.Helper()
	tick, deadline := time.NewTicker(50*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for {
		h.Hint()
		select {
		case <-wake:
			return
		case <-tick.C:
		case <-deadline:
			t.Fatal("no hint heard in 20 s")
		}
	}
}

func await(t *testing.T, wake <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-wake:
	case <-time.After(20 * time.Second):
		t.Fatalf("not woken by %s in 20 s", what)
	}
}
