// Package secret owns what must not be readable: it encrypts endpoint secrets at
// rest, holds the encryption keys by id, and has a string type that cannot be
// printed by accident. There is no plaintext fallback: without a key there is no Box.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Why an envelope could not be opened. Neither holds a part of the envelope.
var (
	// ErrUnknownKey: the envelope names an encryption key that this process was not given.
	ErrUnknownKey = errors.New("secret: sealed with an encryption key that is not configured")
	// ErrUnreadable: not an envelope, changed, moved from another row or column, or
	// sealed with other bytes under the same key id.
	ErrUnreadable = errors.New("secret: cannot be decrypted")
)

const version = "v1"

// Box seals and opens with AES-256-GCM, and knows again what it has given a code. It is safe for concurrent use. Nonces are
// random, so one key may seal up to 2^32 values (NIST SP 800-38D).
type Box struct {
	primary string
	aeads   map[string]cipher.AEAD
	macKeys map[string][]byte
}

// NewBox makes a Box that seals with the first key and opens with all of them.
// Errors name the key by position, never by content.
func NewBox(keys []Key) (*Box, error) {
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	b := &Box{primary: keys[0].ID, aeads: make(map[string]cipher.AEAD, len(keys)), macKeys: make(map[string][]byte, len(keys))}
	for i, k := range keys {
		if err := b.add(k); err != nil {
			return nil, fmt.Errorf("encryption key %d: %w", i+1, err)
		}
	}
	return b, nil
}

func (b *Box) add(k Key) error {
	if err := k.check(); err != nil {
		return err
	}
	if _, twice := b.aeads[k.ID]; twice {
		return errDuplicateID
	}
	block, err := aes.NewCipher(k.Bytes)
	if err != nil {
		return err
	}
	if b.aeads[k.ID], err = cipher.NewGCM(block); err != nil {
		return err
	}
	b.macKeys[k.ID], err = macKey(k)
	return err
}

// Seal encrypts plaintext with the primary key into
// "v1.<key id>.<nonce>.<ciphertext>", the last two in unpadded base64url. The
// envelope opens only with the same aad; see [AAD].
func (b *Box) Seal(plaintext []byte, aad string) (string, error) {
	aead := b.aeads[b.primary]
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("secret: seal: %w", err)
	}
	sealed := aead.Seal(nil, nonce, plaintext, []byte(aad))
	return strings.Join([]string{version, b.primary, encode(nonce), encode(sealed)}, "."), nil
}

// Open decrypts an envelope. The error is ErrUnknownKey or ErrUnreadable.
func (b *Box) Open(envelope, aad string) ([]byte, error) {
	parts := strings.Split(envelope, ".")
	if len(parts) != 4 || parts[0] != version {
		return nil, ErrUnreadable
	}
	aead, ok := b.aeads[parts[1]]
	if !ok {
		return nil, ErrUnknownKey
	}
	nonce, errNonce := decode(parts[2])
	sealed, errSealed := decode(parts[3])
	if errNonce != nil || errSealed != nil || len(nonce) != aead.NonceSize() {
		return nil, ErrUnreadable
	}
	plaintext, err := aead.Open(nil, nonce, sealed, []byte(aad))
	if err != nil {
		return nil, ErrUnreadable
	}
	return plaintext, nil
}

// AAD binds an envelope to one column of one row, so that a ciphertext that was
// copied to another row or column does not open there.
func AAD(id uuid.UUID, column string) string { return id.String() + "/" + column }

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode accepts one spelling of each value only.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, ErrUnreadable
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
