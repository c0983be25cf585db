package postgres_test

import (
	"testing"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestNoticesReachWhoListens(t *testing.T) {
	t.Parallel()
	var heard []string
	db, err := postgres.Connect(t.Context(), pgtest.NewURL(t), postgres.Options{Notice: func(message string) { heard = append(heard, message) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.ExecContext(t.Context(), `DO $$ BEGIN RAISE NOTICE 'hear this'; END $$`); err != nil {
		t.Fatal(err)
	}
	if len(heard) != 1 || heard[0] != "hear this" {
		t.Errorf("heard %q", heard)
	}
}
