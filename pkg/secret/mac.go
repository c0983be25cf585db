package secret

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
)

// macInfo keeps the keys of codes apart from the keys that encrypt.
const macInfo = "sonicus authentication codes v1"

func macKey(k Key) ([]byte, error) {
	derived, err := hkdf.Key(sha256.New, k.Bytes, nil, macInfo, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return derived, nil
}

// MAC returns the code, with the primary key, by which [Box.Authentic] knows a message
// again that was given away: HMAC-SHA256. A code for one purpose is none for another.
func (b *Box) MAC(purpose string, message []byte) []byte {
	return mac(b.macKeys[b.primary], purpose, message)
}

// Authentic says whether code is that of the message, with any of the keys.
func (b *Box) Authentic(purpose string, message, code []byte) bool {
	for _, key := range b.macKeys {
		if hmac.Equal(code, mac(key, purpose, message)) {
			return true
		}
	}
	return false
}

// mac separates the two, so that nothing can be moved from one to the other.
func mac(key []byte, purpose string, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(h, "%d:%s:", len(purpose), purpose) // a hash takes everything
	_, _ = h.Write(message)
	return h.Sum(nil)
}
