package endpoint_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/secret"
)

func TestWrongEncryptionKeyIsFoundAtStartUp(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	right, sameID, otherID := newBox(t, "k1", 1), newBox(t, "k1", 2), newBox(t, "k2", 1)
	if err := endpoint.CheckKeys(t.Context(), db, sameID); err != nil {
		t.Fatalf("nothing is stored yet: %v", err)
	}
	n := valid()
	n.GenerateSecret = true
	made := create(t, newStore(t, db), n)
	create(t, newStore(t, db), valid())
	if err := endpoint.CheckKeys(t.Context(), db, right); err != nil {
		t.Error(err)
	}
	for want, box := range map[error]*secret.Box{secret.ErrUnreadable: sameID, secret.ErrUnknownKey: otherID} {
		err := endpoint.CheckKeys(t.Context(), db, box)
		if !errors.Is(err, want) || !strings.Contains(err.Error(), made.ID.String()) {
			t.Errorf("got %v, want %v", err, want)
		}
		if strings.Contains(err.Error(), "v1.") {
			t.Errorf("%v shows an envelope", err)
		}
	}
}

func TestStartUpLooksAtEveryKeyInUse(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	n := valid()
	n.GenerateSecret = true
	id := create(t, newStore(t, db), n).ID
	old := newBox(t, "old", 7)
	for _, column := range []string{"previous_secret", "headers"} {
		sealed, err := old.Seal([]byte("x"), secret.AAD(id, column))
		if err != nil {
			t.Fatal(err)
		}
		exec(t, db, `UPDATE sonicus.endpoints SET `+column+` = $1, previous_secret_expires_at = now() + interval '1 hour' WHERE id = $2`, sealed, id)
		if err := endpoint.CheckKeys(t.Context(), db, newBox(t, "k1", 1)); !errors.Is(err, secret.ErrUnknownKey) || !strings.Contains(err.Error(), column) {
			t.Errorf("%s: got %v", column, err)
		}
		both, err := secret.NewBox([]secret.Key{{ID: "k1", Bytes: bytes.Repeat([]byte{1}, 32)}, {ID: "old", Bytes: bytes.Repeat([]byte{7}, 32)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := endpoint.CheckKeys(t.Context(), db, both); err != nil {
			t.Errorf("%s: %v", column, err)
		}
		exec(t, db, `UPDATE sonicus.endpoints SET `+column+` = NULL, previous_secret_expires_at = NULL WHERE id = $1`, id)
	}
}

func TestKeysPutsTheCurrentSecretFirst(t *testing.T) {
	t.Parallel()
	box, id := newBox(t, "k1", 1), uuid.Max
	seal := func(plain, column string) string {
		sealed, err := box.Seal([]byte(plain), secret.AAD(id, column))
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	raw := []byte(strings.Repeat("r", 32))
	current := seal("whsec_"+base64.StdEncoding.EncodeToString(raw), "secret")
	previous := seal(strings.Repeat("p", 30), "previous_secret")
	keys, err := endpoint.Keys(box, id, current, previous)
	if err != nil || len(keys) != 2 || !bytes.Equal(keys[0], raw) || string(keys[1]) != strings.Repeat("p", 30) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if keys, err := endpoint.Keys(box, id, "", ""); err != nil || len(keys) != 0 {
		t.Errorf("unsigned: %d keys, %v", len(keys), err)
	}
	for name, envelopes := range map[string][2]string{"swapped": {previous, ""}, "broken": {"v1.k1.x", ""}, "previous of another key": {current, "v1.k9.AAAA.AAAA"}} {
		if _, err := endpoint.Keys(box, id, envelopes[0], envelopes[1]); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := endpoint.Keys(box, uuid.Nil, current, ""); !errors.Is(err, secret.ErrUnreadable) {
		t.Errorf("moved to another endpoint: %v", err)
	}
}
