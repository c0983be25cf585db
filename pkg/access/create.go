package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

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

// newKey is an API key as it is written; the key itself is not part of it.
type newKey struct {
	ID      uuid.UUID  `db:"id"         json:"-"`
	Name    string     `db:"name"       json:"name"`
	Role    Role       `db:"role"       json:"role"`
	Hash    []byte     `db:"key_hash"   json:"-"`
	Last4   string     `db:"key_last4"  json:"key_last4"`
	Created time.Time  `db:"created_at" json:"created_at"`
	Expires *time.Time `db:"expires_at" json:"expires_at"`
}

// CreateKey makes a key and returns it: the only time that it is seen. It is
// refused from lifetime after now on; 0 means never. The audit trail tells of it
// in the same transaction. A bad name, role or lifetime is a problem of kind Invalid.
func (k *Keys) CreateKey(ctx context.Context, name string, role Role, lifetime time.Duration) (string, error) {
	if wrong := check(name, role, lifetime); len(wrong) > 0 {
		return "", problem.Invalid(wrong...)
	}
	plaintext := generate()
	hash := sha256.Sum256([]byte(plaintext))
	err := postgres.InTx(ctx, k.db, func(tx *sqlx.Tx, now time.Time) error {
		key := newKey{
			ID: postgres.NewID(now), Name: name, Role: role, Hash: hash[:], Last4: secret.Last4(plaintext),
			Created: now, Expires: after(now, lifetime),
		}
		return insert(ctx, tx, key)
	})
	if err != nil {
		return "", fmt.Errorf("create api key: %w", err)
	}
	return plaintext, nil
}

func generate() string {
	random := make([]byte, keyBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the process instead
	return prefix + base64.RawURLEncoding.EncodeToString(random)
}

func after(now time.Time, lifetime time.Duration) *time.Time {
	if lifetime == 0 {
		return nil
	}
	end := now.Add(lifetime)
	return &end
}

func insert(ctx context.Context, tx *sqlx.Tx, key newKey) error {
	_, err := tx.NamedExecContext(ctx, `
		INSERT INTO sonicus.api_keys (id, name, role, key_hash, key_last4, created_at, expires_at)
		VALUES (:id, :name, :role, :key_hash, :key_last4, :created_at, :expires_at)`, key)
	if err != nil {
		return fmt.Errorf("insert key: %w", err)
	}
	return Record(ctx, tx, key.Created, Change{Action: "api_key.create", ObjectType: "api_key", ObjectID: key.ID, After: key})
}

func check(name string, role Role, lifetime time.Duration) []problem.Field {
	var wrong []problem.Field
	if !presentable(name) {
		wrong = append(wrong, problem.Field{
			Field: "name", Code: "invalid_name",
			Detail: fmt.Sprintf("give 1 to %d characters, without control characters or white space around them", maxName),
		})
	}
	if !slices.Contains(Roles(), role) {
		wrong = append(wrong, problem.Field{Field: "role", Code: "invalid_role", Detail: "use super_admin, admin or viewer"})
	}
	if lifetime < 0 {
		wrong = append(wrong, problem.Field{Field: "expires", Code: "out_of_range", Detail: "give a time in the future"})
	}
	return wrong
}

// presentable keeps log lines, where names appear, and their readers whole.
func presentable(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= maxName &&
		strings.TrimSpace(name) == name && !strings.ContainsFunc(name, unicode.IsControl)
}
