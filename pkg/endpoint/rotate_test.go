package endpoint_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
)

// signing returns the keys that sign for an endpoint now, the current one first.
func signing(t *testing.T, db *sqlx.DB, id uuid.UUID) (keys []string) {
	t.Helper()
	all, err := endpoint.LoadSending(t.Context(), db, []uuid.UUID{id})
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	opened, err := all[0].Keys(newBox(t, "k1", 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range opened {
		keys = append(keys, string(key))
	}
	return keys
}

func TestRotationOverlapsAndKeepsOnlyOneSecretBefore(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	id := create(t, store, valid()).ID
	if keys := signing(t, db, id); keys != nil {
		t.Fatalf("signed with %d keys", len(keys))
	}
	rotate := func(fill string, overlap *int) endpoint.Created {
		t.Helper()
		rotated, err := store.RotateSecret(t.Context(), id, endpoint.Rotation{SecretKey: ptr(secret.Value(strings.Repeat(fill, 30))), OverlapSeconds: overlap})
		if err != nil {
			t.Fatal(err)
		}
		return rotated
	}
	a, b, c, d := strings.Repeat("a", 30), strings.Repeat("b", 30), strings.Repeat("c", 30), strings.Repeat("d", 30)
	if rotated := rotate("a", nil); rotated.PreviousSecretExpiresAt != nil {
		t.Error("there was no secret before")
	}
	check := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, signing(t, db, id)); diff != "" {
			t.Error(diff)
		}
	}
	check(a)
	if rotated := rotate("b", nil); rotated.PreviousSecretExpiresAt == nil || rotated.PreviousSecretExpiresAt.Sub(rotated.UpdatedAt) != 24*time.Hour {
		t.Errorf("overlaps until %v", rotated.PreviousSecretExpiresAt)
	}
	check(b, a)
	rotate("c", ptr(60)) // within the overlap: the oldest is dropped
	check(c, b)
	exec(t, db, `UPDATE sonicus.endpoints SET previous_secret_expires_at = now()`)
	check(c)
	if found, err := store.Get(t.Context(), id); err != nil || found.PreviousSecretExpiresAt != nil {
		t.Errorf("an overlap that is over is shown: %v %v", found.PreviousSecretExpiresAt, err)
	}
	rotate("d", ptr(0)) // the old one has leaked
	check(d)
}

func TestUnreadableSecretCanStillBeReplaced(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	store := newStore(t, db)
	n := valid()
	n.GenerateSecret = true
	id := create(t, store, n).ID
	exec(t, db, `UPDATE sonicus.endpoints SET secret = 'v1.lost.AAAA.AAAA'`)
	_, err := store.RotateSecret(t.Context(), id, endpoint.Rotation{})
	if p := problemOf(t, err); p.Kind != problem.KindConflict || p.Code != "secret_unreadable" {
		t.Errorf("got %v", err)
	}
	if _, err := store.RotateSecret(t.Context(), id, endpoint.Rotation{OverlapSeconds: ptr(0)}); err != nil {
		t.Error(err)
	}
	if keys := signing(t, db, id); len(keys) != 1 {
		t.Errorf("signed with %d keys", len(keys))
	}
}
