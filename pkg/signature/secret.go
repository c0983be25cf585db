package signature

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// What is wrong with a secret. No error holds any part of it.
var (
	// ErrWeakSecret: the secret does not have 24 to 64 key bytes.
	ErrWeakSecret = errors.New("signature: the secret must have 24 to 64 key bytes")
	// ErrMalformedSecret: what follows whsec_ is not padded standard base64, or the secret is empty.
	ErrMalformedSecret = errors.New("signature: the secret is empty, or is not base64 after whsec_")
)

const (
	secretPrefix = "whsec_"
	newKeyBytes  = 32
	minKeyBytes  = 24 // the range that Standard Webhooks recommends
	maxKeyBytes  = 64
)

// DecodeSecret returns the key bytes of a secret. There is one rule, for both
// signature forms: "whsec_" followed by padded standard base64 stands for the
// decoded bytes; anything else stands for its own bytes, exactly as given. So an
// HMAC over the text of a whsec_ secret is wrong, also for X-Sonicus-Signature.
// The error is [ErrMalformedSecret].
func DecodeSecret(s string) ([]byte, error) {
	key := []byte(s)
	if encoded, ok := strings.CutPrefix(s, secretPrefix); ok {
		var err error
		key, err = base64.StdEncoding.Strict().DecodeString(encoded)
		// Go's decoder skips line ends, those of other languages do not.
		if err != nil || strings.ContainsAny(encoded, "\r\n") {
			return nil, ErrMalformedSecret
		}
	}
	if len(key) == 0 {
		return nil, ErrMalformedSecret
	}
	return key, nil
}

// CheckSecret says whether s may become an endpoint's secret: [ErrWeakSecret]
// unless it has 24 to 64 key bytes, [ErrMalformedSecret] when it cannot be decoded.
func CheckSecret(s string) error {
	key, err := DecodeSecret(s)
	if err != nil {
		return err
	}
	if len(key) < minKeyBytes || len(key) > maxKeyBytes {
		return ErrWeakSecret
	}
	return nil
}

// GenerateSecret returns a new secret: "whsec_" and the base64 of 32 random bytes.
func GenerateSecret() (string, error) {
	key := make([]byte, newKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("signature: generate secret: %w", err)
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(key), nil
}
