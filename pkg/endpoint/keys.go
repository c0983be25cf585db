package endpoint

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/signature"
)

// samples picks one envelope per encryption key id out of all that are in use.
const samples = `
SELECT DISTINCT ON (split_part(envelope, '.', 2)) id, name, envelope
FROM (
    SELECT id, 'secret' AS name, secret AS envelope FROM sonicus.endpoints
    WHERE deleted_at IS NULL AND secret IS NOT NULL
    UNION ALL
    SELECT id, 'previous_secret', previous_secret FROM sonicus.endpoints
    WHERE deleted_at IS NULL AND previous_secret IS NOT NULL AND previous_secret_expires_at > now()
    UNION ALL
    SELECT id, 'headers', headers FROM sonicus.endpoints
    WHERE deleted_at IS NULL AND headers IS NOT NULL
) stored
ORDER BY split_part(envelope, '.', 2), id DESC`

// CheckKeys is for the start-up: it fails with secret.ErrUnknownKey or
// secret.ErrUnreadable unless one stored secret per encryption key opens with
// box. The error names the endpoint and holds no key material.
func CheckKeys(ctx context.Context, db *sqlx.DB, box *secret.Box) error {
	var stored []struct {
		ID       uuid.UUID `db:"id"`
		Name     string    `db:"name"`
		Envelope string    `db:"envelope"`
	}
	if err := db.SelectContext(ctx, &stored, samples); err != nil {
		return fmt.Errorf("read stored secrets: %w", err)
	}
	for _, s := range stored {
		if _, err := box.Open(s.Envelope, secret.AAD(s.ID, s.Name)); err != nil {
			return fmt.Errorf("the configured encryption keys do not open the stored %s of endpoint %s: %w", s.Name, s.ID, err)
		}
	}
	return nil
}

// Keys opens the envelopes of an endpoint's secrets and returns the bytes that
// sign, the current secret's first. Empty envelopes are skipped; none at all
// means unsigned. Errors are those of secret.Box and hold no key material.
func Keys(box *secret.Box, id uuid.UUID, current, previous string) ([][]byte, error) {
	var keys [][]byte
	for _, e := range []struct{ name, envelope string }{{columnSecret, current}, {columnPrevious, previous}} {
		if e.envelope == "" {
			continue
		}
		plain, err := box.Open(e.envelope, secret.AAD(id, e.name))
		if err != nil {
			return nil, fmt.Errorf("%s of endpoint %s: %w", e.name, id, err)
		}
		key, err := signature.DecodeSecret(string(plain))
		if err != nil {
			return nil, fmt.Errorf("%s of endpoint %s: %w", e.name, id, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
