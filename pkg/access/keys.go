package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

const objectKey = "api_key" // in the audit trail

// Key is what people may see of an API key. Times are UTC.
type Key struct {
	ID         uuid.UUID  `db:"id"           json:"id"`
	Name       string     `db:"name"         json:"name"`
	Role       Role       `db:"role"         json:"role"`
	Last4      string     `db:"key_last4"    json:"last4"` // last characters of the key, to tell keys apart
	CreatedAt  time.Time  `db:"created_at"   json:"created_at"`
	ExpiresAt  *time.Time `db:"expires_at"   json:"expires_at"`   // refused from then on; nil: never
	LastUsedAt *time.Time `db:"last_used_at" json:"last_used_at"` // exact to about a minute; nil: not yet
	RevokedAt  *time.Time `db:"revoked_at"   json:"revoked_at"`   // nil: it was not
}

const selection = `SELECT id, name, role, key_last4, created_at, expires_at, last_used_at, revoked_at FROM sonicus.api_keys `

// Get returns one key, also one that has expired or been revoked; one that does
// not exist is a problem of kind NotFound.
func (k *Keys) Get(ctx context.Context, id uuid.UUID) (Key, error) {
	found, err := one(ctx, k.db, selection+`WHERE id = $1`, id)
	if err != nil {
		return Key{}, explain("get api key", err)
	}
	return found, nil
}

// List returns up to limit keys, the newest first, with ids below before; uuid.Nil
// begins with the newest. Keys that have expired or been revoked are among them.
func (k *Keys) List(ctx context.Context, limit int, before uuid.UUID) ([]Key, error) {
	if before == uuid.Nil {
		before = uuid.Max
	}
	all := []Key{}
	if err := k.db.SelectContext(ctx, &all, selection+`WHERE id < $1 ORDER BY id DESC LIMIT $2`, before, limit); err != nil {
		return nil, explain("list api keys", err)
	}
	for i, key := range all {
		all[i] = key.inUTC()
	}
	return all, nil
}

// Revoke makes a key useless from its commit on: [Keys.Authenticate] remembers
// nothing. The audit trail tells of it in the same transaction. A key that is
// revoked already stays as it is, which is no problem; one that does not exist is
// a problem of kind NotFound.
func (k *Keys) Revoke(ctx context.Context, id uuid.UUID) error {
	err := postgres.InTx(ctx, k.db, func(tx *sqlx.Tx, now time.Time) error {
		before, err := one(ctx, tx, selection+`WHERE id = $1 FOR UPDATE`, id)
		if err != nil || before.RevokedAt != nil {
			return err
		}
		return revoke(ctx, tx, now, before)
	})
	if errors.Is(err, postgres.ErrCommitUnknown) && k.isRevoked(ctx, id) {
		err = nil
	}
	if err != nil {
		return explain("revoke api key", err)
	}
	return nil
}

func revoke(ctx context.Context, tx *sqlx.Tx, now time.Time, before Key) error {
	if _, err := tx.ExecContext(ctx, `UPDATE sonicus.api_keys SET revoked_at = $2 WHERE id = $1`, before.ID, now); err != nil {
		return fmt.Errorf("update key: %w", err)
	}
	after := before
	after.RevokedAt = &now
	return Record(ctx, tx, now, Change{Action: "api_key.revoke", ObjectType: objectKey, ObjectID: before.ID, Before: before, After: after})
}

func (k *Keys) isRevoked(ctx context.Context, id uuid.UUID) bool {
	return postgres.Appears(ctx, func(ctx context.Context) error {
		found, err := k.Get(ctx, id)
		if err == nil && found.RevokedAt == nil {
			return postgres.ErrNotFound
		}
		return err
	})
}

func one(ctx context.Context, from sqlx.QueryerContext, query string, id uuid.UUID) (Key, error) {
	var found Key
	err := sqlx.GetContext(ctx, from, &found, query, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return Key{}, problem.NotFound("API key")
	}
	return found.inUTC(), err
}

// inUTC changes the zone of what the driver read, not the instants.
func (k Key) inUTC() Key {
	k.CreatedAt = k.CreatedAt.UTC()
	for _, at := range []**time.Time{&k.ExpiresAt, &k.LastUsedAt, &k.RevokedAt} {
		if *at != nil {
			utc := (*at).UTC()
			*at = &utc
		}
	}
	return k
}

// explain turns the state of the database into a problem that callers may see.
func explain(what string, err error) error {
	return fmt.Errorf("%s: %w", what, postgres.Explain(err,
		"It is not known whether the API key was changed. Look for it in the list of API keys before trying again."))
}
