package secret_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/secret"
)

func newKey(id string, fill byte) secret.Key {
	return secret.Key{ID: id, Bytes: bytes.Repeat([]byte{fill}, 32)}
}

func newBox(t testing.TB, keys ...secret.Key) *secret.Box {
	t.Helper()
	b, err := secret.NewBox(keys)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func seal(t testing.TB, b *secret.Box, plaintext, aad string) string {
	t.Helper()
	envelope, err := b.Seal([]byte(plaintext), aad)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func TestSealedValuesOpenAgain(t *testing.T) {
	t.Parallel()
	b := newBox(t, newKey("k1", 1))
	for _, plaintext := range []string{"", "whsec_AAEC", strings.Repeat("long ", 10_000), "\x00\xff"} {
		got, err := b.Open(seal(t, b, plaintext, "aad"), "aad")
		if err != nil || string(got) != plaintext {
			t.Errorf("%.20q: got %.20q, %v", plaintext, got, err)
		}
	}
}

func TestEnvelopeHasTheDocumentedForm(t *testing.T) {
	t.Parallel()
	b := newBox(t, newKey("2026-a", 1))
	first, second := seal(t, b, "plaintext", "aad"), seal(t, b, "plaintext", "aad")
	parts := strings.Split(first, ".")
	if len(parts) != 4 || parts[0] != "v1" || parts[1] != "2026-a" || len(parts[2]) != 16 {
		t.Errorf("got %s", first)
	}
	if first == second {
		t.Error("the nonce was used twice")
	}
	if strings.Contains(first, "plaintext") {
		t.Error("the plaintext is readable")
	}
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	before := newBox(t, newKey("old", 1))
	during := newBox(t, newKey("new", 2), newKey("old", 1))
	after := newBox(t, newKey("new", 2))
	oldEnvelope := seal(t, before, "s", "aad")
	if got, err := during.Open(oldEnvelope, "aad"); err != nil || string(got) != "s" {
		t.Errorf("during: got %q, %v", got, err)
	}
	newEnvelope := seal(t, during, "s", "aad")
	if !strings.HasPrefix(newEnvelope, "v1.new.") {
		t.Errorf("the first key is not the primary one: %s", newEnvelope)
	}
	if _, err := after.Open(oldEnvelope, "aad"); !errors.Is(err, secret.ErrUnknownKey) {
		t.Errorf("after: got %v", err)
	}
	if got, err := after.Open(newEnvelope, "aad"); err != nil || string(got) != "s" {
		t.Errorf("after: got %q, %v", got, err)
	}
}

func TestRefusesMovedOrChangedEnvelopes(t *testing.T) {
	t.Parallel()
	row, other := uuid.New(), uuid.New()
	b, impostor := newBox(t, newKey("k", 1), newKey("j", 2)), newBox(t, newKey("k", 3))
	aad := secret.AAD(row, "secret_current")
	good := seal(t, b, "plaintext", aad)
	tests := []struct {
		name          string
		box           *secret.Box
		envelope, aad string
		want          error
	}{
		{"in its place", b, good, aad, nil},
		{"moved to another row", b, good, secret.AAD(other, "secret_current"), secret.ErrUnreadable},
		{"moved to another column", b, good, secret.AAD(row, "secret_previous"), secret.ErrUnreadable},
		{"same key id, other bytes", impostor, good, aad, secret.ErrUnreadable},
		{"relabelled with another known key", b, strings.Replace(good, "v1.k.", "v1.j.", 1), aad, secret.ErrUnreadable},
		{"unknown key id", b, strings.Replace(good, "v1.k.", "v1.z.", 1), aad, secret.ErrUnknownKey},
		{"later version", b, "v2" + good[2:], aad, secret.ErrUnreadable},
		{"plaintext in the column", b, "whsec_plaintext", aad, secret.ErrUnreadable},
		{"empty", b, "", aad, secret.ErrUnreadable},
		{"short nonce", b, "v1.k.AAAA.AAAA", aad, secret.ErrUnreadable},
		{"empty nonce", b, "v1.k..AAAA", aad, secret.ErrUnreadable},
		{"fifth part", b, good + ".x", aad, secret.ErrUnreadable},
		{"line end", b, good + "\n", aad, secret.ErrUnreadable},
		{"cut", b, good[:len(good)-4], aad, secret.ErrUnreadable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := tt.box.Open(tt.envelope, tt.aad); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestAnyChangedCharacterIsNoticed(t *testing.T) {
	t.Parallel()
	b := newBox(t, newKey("k", 1))
	good := seal(t, b, "plaintext", "aad")
	for i := range good {
		changed := []byte(good)
		changed[i] ^= 1
		if _, err := b.Open(string(changed), "aad"); err == nil {
			t.Errorf("character %d may be changed", i)
		}
	}
}

func TestNewBoxRefusesBadKeys(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		keys []secret.Key
		want string
	}{
		{"none", nil, "no encryption key is given"},
		{"short", []secret.Key{newKey("a", 1), {ID: "b", Bytes: make([]byte, 16)}}, "encryption key 2: the key must be exactly 32 bytes, it has 16"},
		{"id twice", []secret.Key{newKey("a", 1), newKey("a", 2)}, "encryption key 2: the id is used twice"},
		{"id with a full stop", []secret.Key{newKey("a.b", 1)}, "encryption key 1: the id must be 1 to 32 letters, digits, hyphens or underscores"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := secret.NewBox(tt.keys); err == nil || err.Error() != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBoxAndKeysNeverPrintTheirBytes(t *testing.T) {
	t.Parallel()
	k := secret.Key{ID: "k", Bytes: []byte("CANARYCANARYCANARYCANARYCANARYCA")}
	b := newBox(t, k)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		got := fmt.Sprintf(verb+verb+verb+verb, k, &k, []secret.Key{k}, b)
		if strings.Contains(got, "CANARY") || strings.Contains(got, "43414e415259") || strings.Contains(got, "67") {
			t.Errorf("%s shows the bytes: %s", verb, got)
		}
	}
}
