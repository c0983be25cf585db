package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonicus/webhooks/pkg/postgres"
)

func TestChoreGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var logs bytes.Buffer
		begin, at := time.Now(), []time.Duration{}
		outcomes := []error{nil, errors.New("away"), errors.New("away"), nil}
		postgres.Regularly(ctx, slog.New(slog.NewTextHandler(&logs, nil)), "sweep", time.Hour, time.Minute, func(context.Context) (int, error) {
			at = append(at, time.Since(begin))
			if len(at) == len(outcomes) {
				cancel()
			}
			return 2, outcomes[len(at)-1]
		})
		want := []time.Duration{0, time.Hour, time.Hour + time.Minute, time.Hour + 2*time.Minute}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("done at %v, want %v", at, want)
				break
			}
		}
		if done, failed := strings.Count(logs.String(), `msg="chore done" chore=sweep number=2`), strings.Count(logs.String(), "chore failed"); done != 1 || failed != 2 {
			t.Errorf("logged:\n%s", logs.String())
		}
	})
}
