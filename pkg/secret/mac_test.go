package secret_test

import (
	"bytes"
	"testing"
)

func TestCodesAreForOneMessageAndOnePurpose(t *testing.T) {
	t.Parallel()
	b := newBox(t, newKey("k1", 1))
	code := b.MAC("page", []byte("7"))
	for name, known := range map[string]bool{
		"another message":          b.Authentic("page", []byte("8"), code),
		"another purpose":          b.Authentic("user", []byte("7"), code),
		"purpose in the message":   b.Authentic("pag", []byte("e:7"), code),
		"code cut short":           b.Authentic("page", []byte("7"), code[:16]),
		"no code":                  b.Authentic("page", []byte("7"), nil),
		"another key's of that id": newBox(t, newKey("k1", 2)).Authentic("page", []byte("7"), code),
	} {
		if known {
			t.Errorf("%s is accepted", name)
		}
	}
	if !b.Authentic("page", []byte("7"), code) || len(code) != 32 {
		t.Errorf("its own code %x is refused", code)
	}
}

func TestCodesHoldWhileKeysAreRotated(t *testing.T) {
	t.Parallel()
	old, current := newBox(t, newKey("k1", 1)), newBox(t, newKey("k2", 2), newKey("k1", 1))
	if !current.Authentic("page", nil, old.MAC("page", nil)) {
		t.Error("a code of the old key is refused")
	}
	if bytes.Equal(current.MAC("page", nil), old.MAC("page", nil)) {
		t.Error("codes are not made with the primary key")
	}
}
