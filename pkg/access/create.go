package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
)

const (
	prefix      = "snk_" // lets secret scanners and people recognize a key
	keyBytes    = 32
	maxName     = 200
	commandLine = "command line"
)

// NewKey is a key to be made. Of Lifetime and ExpiresAt one may be set; without
// either it never expires.
type NewKey struct {
	Name      string // 1 to 200 characters; neither bootstrap nor command line, whatever the case
	Role      Role
	Lifetime  *time.Duration // from the creation on
	ExpiresAt *time.Time     // to the microsecond
}

// CreatedKey is a key as it was made.
type CreatedKey struct {
	Key
	Plaintext secret.Value // the key itself: the only time that it is seen
}

// Create makes a key. The audit trail tells of it in the same transaction.
// Problems: Invalid names every bad field; Unavailable while the database is
// away, with the code commit_unknown when it cannot be told whether the key exists.
func (k *Keys) Create(ctx context.Context, n NewKey) (CreatedKey, error) {
	if wrong := n.check(); len(wrong) > 0 {
		return CreatedKey{}, problem.Invalid(wrong...)
	}
	plaintext := generate()
	made, err := idempotency.InTx(ctx, k.db, func(tx *sqlx.Tx, now time.Time) (CreatedKey, error) {
		made := CreatedKey{Key: n.key(postgres.NewID(now), now, plaintext), Plaintext: plaintext}
		if made.ExpiresAt != nil && !made.ExpiresAt.After(now) {
			return CreatedKey{}, problem.Invalid(inThePast("expires_at"))
		}
		return made, insert(ctx, tx, made)
	})
	if errors.Is(err, postgres.ErrCommitUnknown) && k.appears(ctx, made.ID) {
		err = nil
	}
	if err != nil {
		return CreatedKey{}, explain("create api key", err)
	}
	return made, nil
}

func (k *Keys) appears(ctx context.Context, id uuid.UUID) bool {
	return postgres.Appears(ctx, func(ctx context.Context) error { _, err := k.Get(ctx, id); return err })
}

func generate() secret.Value {
	random := make([]byte, keyBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the process instead
	return secret.Value(prefix + base64.RawURLEncoding.EncodeToString(random))
}

func (n NewKey) key(id uuid.UUID, now time.Time, plaintext secret.Value) Key {
	key := Key{ID: id, Name: n.Name, Role: n.Role, Last4: secret.Last4(string(plaintext)), CreatedAt: now}
	switch {
	case n.Lifetime != nil:
		end := now.Add(*n.Lifetime)
		key.ExpiresAt = &end
	case n.ExpiresAt != nil:
		end := n.ExpiresAt.UTC().Truncate(time.Microsecond) // as Postgres keeps it
		key.ExpiresAt = &end
	}
	return key
}

func insert(ctx context.Context, tx *sqlx.Tx, made CreatedKey) error {
	hash := sha256.Sum256([]byte(made.Plaintext))
	_, err := tx.ExecContext(ctx, `
		INSERT INTO sonicus.api_keys (id, name, role, key_hash, key_last4, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		made.ID, made.Name, made.Role, hash[:], made.Last4, made.CreatedAt, made.ExpiresAt)
	if err != nil {
		return fmt.Errorf("insert key: %w", err)
	}
	return Record(ctx, tx, made.CreatedAt, Change{Action: "api_key.create", ObjectType: objectKey, ObjectID: made.ID, After: made.Key})
}

func (n NewKey) check() []problem.Field {
	var wrong []problem.Field
	switch {
	case !presentable(n.Name):
		wrong = append(wrong, problem.Field{
			Field: "name", Code: "invalid_name",
			Detail: fmt.Sprintf("give 1 to %d characters, without control characters or white space around them", maxName),
		})
	case impersonates(n.Name):
		wrong = append(wrong, problem.Field{
			Field: "name", Code: "reserved_name", Detail: "choose another name: the log and the audit trail mean somebody else by this one",
		})
	}
	if !slices.Contains(Roles(), n.Role) {
		wrong = append(wrong, problem.Field{Field: "role", Code: "invalid_role", Detail: "use super_admin, admin or viewer"})
	}
	switch {
	case n.Lifetime != nil && n.ExpiresAt != nil:
		wrong = append(wrong, problem.Field{Field: "expires_at", Code: "exclusive", Detail: "give expires_in_seconds or expires_at, not both"})
	case n.Lifetime != nil && *n.Lifetime <= 0:
		wrong = append(wrong, inThePast("expires_in_seconds"))
	}
	return wrong
}

func inThePast(field string) problem.Field {
	return problem.Field{Field: field, Code: "out_of_range", Detail: "give a time in the future, or leave it out for a key that never expires"}
}
