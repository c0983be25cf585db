package signature

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DefaultTolerance is how far webhook-timestamp may be from the receiver's clock,
// in either direction.
const DefaultTolerance = 5 * time.Minute

// Why a request was not accepted. All of them mean: answer 401 or 400, do nothing.
var (
	// ErrMissing: a header that the check needs is absent or empty.
	ErrMissing = errors.New("signature: header missing")
	// ErrMismatch: no signature was made with a known secret over these bytes.
	ErrMismatch = errors.New("signature: no signature matches")
	// ErrTooOld: genuine, but sent longer ago than the tolerance: a replay, or a slow clock here.
	ErrTooOld = errors.New("signature: timestamp is too old")
	// ErrTooNew: genuine, but from the future by more than the tolerance.
	ErrTooNew = errors.New("signature: timestamp is in the future")
)

// Verifier checks requests against one or more secrets. It is safe for
// concurrent use once Tolerance is set.
type Verifier struct {
	// Tolerance is how far webhook-timestamp may be from now, in either
	// direction. Zero means DefaultTolerance.
	Tolerance time.Duration

	keys [][]byte
	now  func() time.Time
}

// New makes a Verifier that accepts a signature made with any of secrets: give
// the old and the new one while a secret is being rotated. The secrets are read by
// the rule of [DecodeSecret]; any length but zero is accepted here.
func New(secrets ...string) (*Verifier, error) {
	if len(secrets) == 0 {
		return nil, ErrMalformedSecret
	}
	v := &Verifier{now: time.Now}
	for i, s := range secrets {
		key, err := DecodeSecret(s)
		if err != nil {
			return nil, fmt.Errorf("secret %d: %w", i+1, err)
		}
		v.keys = append(v.keys, key)
	}
	return v, nil
}

// Verify is the check to use: the Standard Webhooks headers must be there, match
// and be fresh, and X-Sonicus-Signature must match as well when it is present.
// The error is ErrMissing, ErrMismatch, ErrTooOld or ErrTooNew, perhaps wrapped.
func (v *Verifier) Verify(h http.Header, body []byte) error {
	if err := v.VerifyStandard(h, body); err != nil {
		return err
	}
	if len(h.Values(HeaderSonicus)) == 0 {
		return nil
	}
	return v.VerifySonicus(h, body)
}

// VerifySonicus checks X-Sonicus-Signature only. It cannot tell a replay from a
// new request. Hex digits may be of either case; "sha256=" may not. The error is
// ErrMissing or ErrMismatch.
func (v *Verifier) VerifySonicus(h http.Header, body []byte) error {
	value, err := single(h, HeaderSonicus)
	if err != nil {
		return err
	}
	digits, ok := strings.CutPrefix(value, sonicusPrefix)
	if !ok {
		return fmt.Errorf("%w: %s does not begin with %s", ErrMismatch, HeaderSonicus, sonicusPrefix)
	}
	given, err := hex.DecodeString(digits)
	if err != nil {
		return fmt.Errorf("%w: %s is not hex", ErrMismatch, HeaderSonicus)
	}
	for _, key := range v.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write(body)
		if hmac.Equal(given, mac.Sum(nil)) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", ErrMismatch, HeaderSonicus)
}

// VerifyStandard checks webhook-id, webhook-timestamp and webhook-signature.
// Entries of webhook-signature that do not begin with "v1," are skipped. The
// signature is checked before the time, so ErrTooOld and ErrTooNew are only ever
// said of genuine requests.
func (v *Verifier) VerifyStandard(h http.Header, body []byte) error {
	id, errID := single(h, HeaderID)
	timestamp, errTime := single(h, HeaderTimestamp)
	signatures, errSig := single(h, HeaderStandard)
	if err := cmp.Or(errID, errTime, errSig); err != nil {
		return err
	}
	if strings.Contains(id, ".") {
		return fmt.Errorf("%w: %s contains a full stop", ErrMismatch, HeaderID)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: %s is not whole seconds", ErrMismatch, HeaderTimestamp)
	}
	if !v.matchesAny(signatures, id, timestamp, body) {
		return fmt.Errorf("%w: %s", ErrMismatch, HeaderStandard)
	}
	return v.fresh(seconds)
}

// matchesAny compares texts, not decoded bytes, so that one signature has one
// spelling only. Each key signs once, however long the list is.
func (v *Verifier) matchesAny(signatures, id, timestamp string, body []byte) bool {
	for _, key := range v.keys {
		want := []byte(standard(key, id, timestamp, body))
		for entry := range strings.SplitSeq(signatures, " ") {
			if hmac.Equal([]byte(entry), want) {
				return true
			}
		}
	}
	return false
}

// fresh compares seconds, since the difference of two times could overflow.
func (v *Verifier) fresh(seconds int64) error {
	tolerance := v.Tolerance
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}
	now := v.now()
	switch {
	case seconds < now.Add(-tolerance).Unix():
		return ErrTooOld
	case seconds > now.Add(tolerance).Unix():
		return ErrTooNew
	}
	return nil
}

// single returns the only value of a header. Two values could be read differently
// by two programs, so they are refused.
func single(h http.Header, name string) (string, error) {
	values := h.Values(name)
	if len(values) == 0 || values[0] == "" {
		return "", fmt.Errorf("%w: %s", ErrMissing, name)
	}
	if len(values) > 1 {
		return "", fmt.Errorf("%w: %s is there more than once", ErrMismatch, name)
	}
	return values[0], nil
}
