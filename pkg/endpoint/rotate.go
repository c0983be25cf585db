package endpoint

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/signature"
)

// OverlapSeconds is for how long two secrets may sign together.
var OverlapSeconds = Range{0, 7 * 24 * 60 * 60}

const defaultOverlap = 24 * 60 * 60

// Rotation is a change of an endpoint's secret.
type Rotation struct {
	SecretKey      *secret.Value // the new one; nil: it is generated
	OverlapSeconds *int          // for how long the old one signs too; nil: a day
}

const rotate = `
UPDATE sonicus.endpoints
SET secret = $2, secret_last4 = $3, previous_secret = $4, previous_secret_expires_at = $5, updated_at = $6
WHERE id = $1`

// RotateSecret gives an endpoint a new secret, or its first, and returns it this
// once. Until the overlap ends the old one signs too; one that was older still and
// did so until now is dropped. Problems: Invalid for bad values; Conflict
// (secret_unreadable) for an old secret that cannot go on signing because it cannot
// be decrypted; NotFound, and Unavailable as for [Store.Create].
func (s *Store) RotateSecret(ctx context.Context, id uuid.UUID, r Rotation) (Created, error) {
	if found := slices.Concat(checkSecretKey(r.SecretKey), CheckRange("overlap_seconds", r.OverlapSeconds, OverlapSeconds)); len(found) > 0 {
		return Created{}, problem.Invalid(found...)
	}
	key, err := given(r.SecretKey)
	if err != nil {
		return Created{}, err
	}
	overlap := time.Duration(valueOr(r.OverlapSeconds, defaultOverlap)) * time.Second
	return written(ctx, s, id, "rotate_secret", nil, func(tx *sqlx.Tx, now time.Time, _ Endpoint) error {
		return s.setSecret(ctx, tx, now, id, key, overlap)
	}, func(after Endpoint) Created { return Created{Endpoint: after, SecretKey: key} })
}

// setSecret gives an endpoint whose row is locked another secret.
func (s *Store) setSecret(ctx context.Context, tx *sqlx.Tx, now time.Time, id uuid.UUID, key secret.Value, overlap time.Duration) error {
	sealed, err := s.seal(id, columnSecret, key)
	if err != nil {
		return err
	}
	previous, until, err := s.retire(ctx, tx, id, now, overlap)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, rotate, id, sealed, secret.Last4(string(key)), previous, until, now); err != nil {
		return fmt.Errorf("set secret: %w", err)
	}
	return nil
}

// given returns the secret that was given, or makes one.
func given(key *secret.Value) (secret.Value, error) {
	if key != nil {
		return *key, nil
	}
	made, err := signature.GenerateSecret()
	if err != nil {
		return "", fmt.Errorf("generate secret: %w", err)
	}
	return secret.Value(made), nil
}

// retire seals the current secret for its other column; nil when there is none, or
// when it is to sign no longer.
func (s *Store) retire(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, now time.Time, overlap time.Duration) (*string, *time.Time, error) {
	if overlap == 0 {
		return nil, nil, nil
	}
	plain, err := s.currentSecret(ctx, tx, id)
	if err != nil || plain == "" {
		return nil, nil, err
	}
	previous, err := s.seal(id, columnPrevious, plain)
	until := now.Add(overlap)
	return previous, &until, err
}

// currentSecret is that of an endpoint whose row is locked, empty when it has none.
func (s *Store) currentSecret(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (secret.Value, error) {
	var sealed *string
	if err := tx.GetContext(ctx, &sealed, `SELECT secret FROM sonicus.endpoints WHERE id = $1`, id); err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if sealed == nil {
		return "", nil
	}
	plain, err := s.box.Open(*sealed, secret.AAD(id, columnSecret))
	if err != nil {
		p := problem.Conflict("secret_unreadable", "", "The current secret cannot be decrypted, so it cannot go on signing. Rotate with overlap_seconds 0.")
		p.Err = err
		return "", p
	}
	return secret.Value(plain), nil
}
