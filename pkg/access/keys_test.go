package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
)

func TestWhatCreateAnswersIsWhatIsStored(t *testing.T) {
	t.Parallel()
	keys := access.NewKeys(pgtest.New(t), "")
	hour, end := time.Hour, time.Date(2999, 12, 31, 23, 59, 59, 123456789, time.FixedZone("east", 3600))
	for name, n := range map[string]access.NewKey{
		"never expires":   {Name: "a", Role: access.Viewer},
		"has a lifetime":  {Name: "b", Role: access.Admin, Lifetime: &hour},
		"ends at a time":  {Name: "c", Role: access.SuperAdmin, ExpiresAt: &end},
		"unusual letters": {Name: "Äpfel & <Birnen> 💩", Role: access.Admin},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made, err := keys.Create(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			found, err := keys.Get(t.Context(), made.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(made.Key, found); diff != "" {
				t.Error(diff)
			}
			if key := string(made.Plaintext); found.Last4 != key[len(key)-4:] {
				t.Errorf("last four %q of another key", found.Last4)
			}
		})
	}
}

func TestRevokedKeyIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	keys := access.NewKeys(pgtest.New(t), "")
	made, err := keys.Create(t.Context(), access.NewKey{Name: "crm", Role: access.Admin})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(t.Context(), string(made.Plaintext)); err != nil {
		t.Fatal(err)
	}
	if err := keys.Revoke(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(t.Context(), string(made.Plaintext)); !errors.Is(err, access.ErrRevoked) {
		t.Errorf("got %v", err)
	}
	keys.Wait()
}

func TestKeyIsRevokedOnceHoweverOftenItIsAskedFor(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := access.NewKeys(db, "")
	made, err := keys.Create(t.Context(), access.NewKey{Name: "crm", Role: access.Admin})
	if err != nil {
		t.Fatal(err)
	}
	var asked sync.WaitGroup
	for range 8 {
		asked.Go(func() {
			if err := keys.Revoke(t.Context(), made.ID); err != nil {
				t.Error(err)
			}
		})
	}
	asked.Wait()
	trail := trail(t, db)
	if len(trail) != 2 || trail[1].Action != "api_key.revoke" {
		t.Fatalf("got %+v", trail)
	}
	found, err := keys.Get(t.Context(), made.ID)
	if err != nil || found.RevokedAt == nil || !found.RevokedAt.Equal(trail[1].At) {
		t.Errorf("revoked at %v, by the trail at %v: %v", found.RevokedAt, trail[1].At, err)
	}
}

func TestRevokingWhatDoesNotExistIsNotFound(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	if err := access.NewKeys(db, "").Revoke(t.Context(), uuid.New()); kindOf(err) != problem.KindNotFound {
		t.Errorf("got %v", err)
	}
	if trail := trail(t, db); len(trail) != 0 {
		t.Errorf("the trail tells of %+v", trail)
	}
}

func TestNoRevocationWithoutItsAuditRow(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := access.NewKeys(db, "")
	made, err := keys.Create(t.Context(), access.NewKey{Name: "crm", Role: access.Admin})
	if err != nil {
		t.Fatal(err)
	}
	change(t, db, `ALTER TABLE sonicus.audit_log ADD CONSTRAINT closed CHECK (action <> 'api_key.revoke')`)
	if err := keys.Revoke(t.Context(), made.ID); err == nil {
		t.Error("revoked")
	}
	if found, err := keys.Get(t.Context(), made.ID); err != nil || found.RevokedAt != nil {
		t.Errorf("revoked at %v, %v", found.RevokedAt, err)
	}
}

func TestTheTrailSaysWhoManagedAKey(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := access.NewKeys(db, "")
	boss := access.Actor{Principal: access.Principal{KeyID: uuid.New(), Name: "boss", Role: access.SuperAdmin}, RequestID: "a-request"}
	ctx := access.WithActor(t.Context(), boss)
	made, err := keys.Create(ctx, access.NewKey{Name: "crm", Role: access.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Revoke(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	trail := trail(t, db)
	if len(trail) != 2 {
		t.Fatalf("got %+v", trail)
	}
	for i, action := range []string{"api_key.create", "api_key.revoke"} {
		got := trail[i]
		if got.Action != action || got.Actor != "boss" || got.Request != "a-request" || got.KeyID != boss.KeyID || got.Object != made.ID.String() {
			t.Errorf("got %+v", got)
		}
	}
	if before := decoded(t, trail[1].Before); before["revoked_at"] != nil || before["name"] != "crm" {
		t.Errorf("before: %v", before)
	}
	if after := decoded(t, trail[1].After); after["revoked_at"] == nil || after["role"] != "viewer" {
		t.Errorf("after: %v", after)
	}
}

func TestManagingKeysWithoutADatabaseSaysSo(t *testing.T) {
	t.Parallel()
	keys := access.NewKeys(unreachable(t), "")
	for name, do := range map[string]func(context.Context) error{
		"create": func(ctx context.Context) error {
			_, err := keys.Create(ctx, access.NewKey{Name: "a", Role: access.Admin})
			return err
		},
		"get":    func(ctx context.Context) error { _, err := keys.Get(ctx, uuid.New()); return err },
		"list":   func(ctx context.Context) error { _, err := keys.List(ctx, 1, uuid.Nil); return err },
		"revoke": func(ctx context.Context) error { return keys.Revoke(ctx, uuid.New()) },
	} {
		if err := do(t.Context()); kindOf(err) != problem.KindUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// entry is a row of the audit trail.
type entry struct {
	At            time.Time
	KeyID         uuid.UUID `db:"api_key_id"`
	Actor, Action string
	Object        string `db:"object_id"`
	Request       string `db:"request_id"`
	Before, After postgres.JSON
}

// trail reads the audit trail, the oldest row first.
func trail(t *testing.T, db *sqlx.DB) []entry {
	t.Helper()
	var all []entry
	if err := db.SelectContext(t.Context(), &all, `
		SELECT at, coalesce(api_key_id, '00000000-0000-0000-0000-000000000000') AS api_key_id, actor, action, object_id,
		       coalesce(request_id, '') AS request_id, before, after
		FROM sonicus.audit_log ORDER BY at`); err != nil {
		t.Fatal(err)
	}
	return all
}

func decoded(t *testing.T, text postgres.JSON) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
