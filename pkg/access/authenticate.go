package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
)

// Why a token was refused. For logs only: callers get one answer for all.
var (
	ErrUnknown = errors.New("no key, or one that does not exist")
	ErrExpired = errors.New("the key has expired")
	ErrRevoked = errors.New("the key has been revoked")
)

const (
	bootstrapName = "bootstrap"
	lookupTimeout = 5 * time.Second
	touchTimeout  = 5 * time.Second
)

// Keys are the API keys of the service.
type Keys struct {
	db           *sqlx.DB
	bootstrap    [sha256.Size]byte
	hasBootstrap bool
	tokens       *Tokens // nil: JWTs are not accepted
	refused      atomic.Int64

	touching sync.Mutex // held while last_used_at is being updated beside a request
}

// NewKeys makes the keys in db known. bootstrap is one more key, of a super
// admin, which exists without the database; empty means none.
func NewKeys(db *sqlx.DB, bootstrap secret.Value) *Keys {
	return &Keys{db: db, bootstrap: sha256.Sum256([]byte(bootstrap)), hasBootstrap: bootstrap != ""}
}

// Accept lets holders of these JWTs in beside those of keys. Call it before the
// first Authenticate.
func (k *Keys) Accept(t *Tokens) { k.tokens = t }

// Authenticate returns who holds token, which is a key or a JWT. A token that is malformed, unknown,
// expired or revoked is the same problem of kind Unauthenticated, found with the
// same look-up; the problem's Err tells logs which it was. A database that does
// not answer is a problem of kind Unavailable: it says nothing of the token.
func (k *Keys) Authenticate(ctx context.Context, token string) (Principal, error) {
	principal, err := k.authenticate(ctx, token)
	if p, ok := errors.AsType[*problem.Error](err); ok && p.Kind == problem.KindUnauthenticated {
		k.refused.Add(1)
	}
	return principal, err
}

// Refused is how many tokens were refused so far, absent ones among them.
func (k *Keys) Refused() int64 { return k.refused.Load() }

func (k *Keys) authenticate(ctx context.Context, token string) (Principal, error) {
	hash := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(hash[:], k.bootstrap[:]) == 1 && k.hasBootstrap {
		return Principal{Name: bootstrapName, Role: SuperAdmin}, nil
	}
	if k.tokens != nil && strings.Contains(token, ".") { // keys have none
		return k.tokens.Authenticate(token)
	}
	found, err := k.lookup(ctx, hash)
	if err != nil {
		return Principal{}, err
	}
	if err := found.refusal(); err != nil {
		return Principal{}, unauthenticated(err)
	}
	if found.Stale {
		k.touch(ctx, found.ID)
	}
	return Principal{KeyID: found.ID, Name: found.Name, Role: found.Role}, nil
}

type keyRow struct {
	ID      uuid.UUID `db:"id"`
	Name    string    `db:"name"`
	Role    Role      `db:"role"`
	Expired bool      `db:"expired"`
	Revoked bool      `db:"revoked"`
	Stale   bool      `db:"stale"` // last_used_at is due for an update
}

func (r keyRow) refusal() error {
	switch {
	case r.Revoked:
		return ErrRevoked
	case r.Expired:
		return ErrExpired
	default:
		return nil
	}
}

// find needs no constant-time comparison: what an attacker could learn byte by
// byte from an index look-up is the hash of a guess, not a key.
const find = `
SELECT id, name, role,
       revoked_at IS NOT NULL AS revoked,
       expires_at IS NOT NULL AND expires_at <= now() AS expired,
       last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS stale
FROM sonicus.api_keys WHERE key_hash = $1`

func (k *Keys) lookup(ctx context.Context, hash [sha256.Size]byte) (keyRow, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var r keyRow
	err := k.db.GetContext(ctx, &r, find, hash[:])
	switch {
	case errors.Is(err, postgres.ErrNotFound):
		return keyRow{}, unauthenticated(ErrUnknown)
	case err != nil:
		return keyRow{}, fmt.Errorf("look up api key: %w", postgres.Explain(err, ""))
	}
	return r, nil
}

func unauthenticated(reason error) error {
	p := problem.Unauthenticated()
	p.Err = reason
	return p
}

// touch notes the use of a key beside the request. It is a courtesy to people
// who tidy up keys: when another note is being made, or the database is busy, it
// is left to a later request.
func (k *Keys) touch(ctx context.Context, id uuid.UUID) {
	if !k.touching.TryLock() {
		return
	}
	go func() {
		defer k.touching.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), touchTimeout)
		defer cancel()
		_ = postgres.InTx(ctx, k.db, func(tx *sqlx.Tx, now time.Time) error {
			_, err := tx.ExecContext(ctx, `UPDATE sonicus.api_keys SET last_used_at = $2
				WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)`, id, now)
			return err
		})
	}()
}

// Wait returns when what runs beside the requests at this moment has ended,
// after five seconds at the most. Call it before closing the pool.
func (k *Keys) Wait() {
	k.touching.Lock()
	k.touching.Unlock() //nolint:gocritic,staticcheck // waiting is all that is wanted
}
