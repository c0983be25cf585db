package secret

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// What can be wrong with a list of keys. The texts complete "encryption key 2: …".
var (
	errNoKeys      = errors.New("no encryption key is given")
	errForm        = errors.New("want id:base64")
	errID          = errors.New("the id must be 1 to 32 letters, digits, hyphens or underscores")
	errBase64      = errors.New("what follows the id is not padded standard base64")
	errLength      = errors.New("the key must be exactly 32 bytes")
	errDuplicateID = errors.New("the id is used twice")
)

const keyBytes = 32 // AES-256

// keyID has no colon, comma or full stop, which separate ids from other things.
var keyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// Key is one encryption key: 32 raw bytes, not a passphrase. It prints as its id.
type Key struct {
	ID    string // 1 to 32 letters, digits, hyphens, underscores
	Bytes []byte // exactly 32
}

func (k Key) check() error {
	switch {
	case !keyID.MatchString(k.ID):
		return errID
	case len(k.Bytes) != keyBytes:
		return fmt.Errorf("%w, it has %d", errLength, len(k.Bytes))
	}
	return nil
}

// Format prints the key without its bytes, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.ID+":"+redacted) }

// LogValue keeps the bytes out of slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID + ":" + redacted) }

// MarshalText keeps the bytes out of JSON and text encodings.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.ID + ":" + redacted), nil }

// ParseKeys reads "kid:base64,kid2:base64…"; the first key is the primary one. Make
// one with: openssl rand -base64 32. Spaces and line ends around an entry are
// ignored. Errors say which entry and what is wrong, never what it holds.
func ParseKeys(s string) ([]Key, error) {
	if strings.TrimSpace(s) == "" {
		return nil, errNoKeys
	}
	var keys []Key
	seen := map[string]bool{}
	for entry := range strings.SplitSeq(s, ",") {
		k, err := parseKey(strings.TrimSpace(entry))
		if err == nil && seen[k.ID] {
			err = errDuplicateID
		}
		if err != nil {
			return nil, fmt.Errorf("encryption key %d: %w", len(keys)+1, err)
		}
		seen[k.ID] = true
		keys = append(keys, k)
	}
	return keys, nil
}

func parseKey(entry string) (Key, error) {
	id, encoded, ok := strings.Cut(entry, ":")
	if !ok {
		return Key{}, errForm
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Key{}, errBase64
	}
	k := Key{ID: id, Bytes: raw}
	return k, k.check()
}
