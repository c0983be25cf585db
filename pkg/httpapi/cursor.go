package httpapi

import (
	"encoding/base64"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/secret"
)

const cursorsKey = "cursors"

// cursors say where the next pages of lists begin. A cursor is an id and the code by
// which it is known again: what callers make up themselves is refused before the
// database is asked, and nobody comes to rely on what a cursor looks like.
type cursors struct{ box *secret.Box }

// of makes the cursor of the page of a list that begins below an id.
func (c cursors) of(list string, last uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(append(last[:], c.box.MAC(purposeOf(list), last[:])...))
}

func (c cursors) open(list, s string) (uuid.UUID, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < len(uuid.Nil) {
		return uuid.Nil, false
	}
	id := uuid.UUID(b[:len(uuid.Nil)])
	return id, c.box.Authentic(purposeOf(list), id[:], b[len(id):])
}

func purposeOf(list string) string { return "cursor of " + list }
