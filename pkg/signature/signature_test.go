package signature

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Published by GitHub and by Standard Webhooks.
const (
	githubSecret    = "It's a Secret to Everybody"
	githubBody      = "Hello, World!"
	githubSignature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

	standardSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	standardID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	standardTime      = 1614265330
	standardBody      = `{"test": 2432232314}`
	standardSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func mustKey(t testing.TB, secret string) []byte {
	t.Helper()
	key, err := DecodeSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSignaturesMatchThePublishedVectors(t *testing.T) {
	t.Parallel()
	if got := Sonicus(mustKey(t, githubSecret), []byte(githubBody)); got != githubSignature {
		t.Errorf("Sonicus: got %s", got)
	}
	got := Standard(mustKey(t, standardSecret), standardID, time.Unix(standardTime, 999), []byte(standardBody))
	if got != standardSignature {
		t.Errorf("Standard: got %s", got)
	}
}

func TestOneRuleForTheKeyBytesOfASecret(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, secret string
		key          []byte
		err          error
	}{
		{"plain text is its own bytes", "optional-secret-for-signatures", []byte("optional-secret-for-signatures"), nil},
		{"base64 without prefix is its own bytes", "AAAA", []byte("AAAA"), nil},
		{"whsec is decoded", "whsec_AAEC", []byte{0, 1, 2}, nil},
		{"upper-case prefix is plain text", "WHSEC_AAEC", []byte("WHSEC_AAEC"), nil},
		{"not base64", "whsec_not base64!", nil, ErrMalformedSecret},
		{"no padding", "whsec_AAE", nil, ErrMalformedSecret},
		{"url alphabet", "whsec_-_-_", nil, ErrMalformedSecret},
		{"line end", "whsec_AAEC\n", nil, ErrMalformedSecret},
		{"nothing after the prefix", "whsec_", nil, ErrMalformedSecret},
		{"empty", "", nil, ErrMalformedSecret},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key, err := DecodeSecret(tt.secret)
			if !errors.Is(err, tt.err) || !bytes.Equal(key, tt.key) {
				t.Errorf("got %q, %v", key, err)
			}
		})
	}
}

func TestCheckSecretRefusesWeakSecrets(t *testing.T) {
	t.Parallel()
	whsec := func(n int) string {
		return "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, n))
	}
	tests := []struct {
		name, secret string
		err          error
	}{
		{"23 raw bytes", strings.Repeat("a", 23), ErrWeakSecret},
		{"24 raw bytes", strings.Repeat("a", 24), nil},
		{"64 raw bytes", strings.Repeat("a", 64), nil},
		{"65 raw bytes", strings.Repeat("a", 65), ErrWeakSecret},
		{"23 decoded bytes in 38 characters", whsec(23), ErrWeakSecret},
		{"24 decoded bytes", whsec(24), nil},
		{"64 decoded bytes", whsec(64), nil},
		{"65 decoded bytes", whsec(65), ErrWeakSecret},
		{"not base64", "whsec_" + strings.Repeat("!", 40), ErrMalformedSecret},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := CheckSecret(tt.secret); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}

func TestGeneratedSecretsAreStrongAndDifferent(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		s, err := GenerateSecret()
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckSecret(s); err != nil || len(mustKey(t, s)) != 32 || seen[s] {
			t.Fatalf("got a bad secret: %v", err)
		}
		seen[s] = true
	}
}

func TestErrorsNeverHoldTheSecret(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	_, errDecode := DecodeSecret("whsec_" + canary + "!")
	_, errNew := New("whsec_" + canary + "!")
	for _, err := range []error{errDecode, errNew, CheckSecret(canary)} {
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("got %v", err)
		}
	}
}

func TestAgreesWithTheStandardWebhooksLibrary(t *testing.T) {
	t.Parallel()
	oracle, err := standardwebhooks.NewWebhook(standardSecret)
	if err != nil {
		t.Fatal(err)
	}
	now, body := time.Now(), []byte(standardBody)
	theirs, err := oracle.Sign("msg_1", now, body)
	if err != nil {
		t.Fatal(err)
	}
	v, err := New(standardSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.VerifyStandard(triple("msg_1", now.Unix(), theirs), body); err != nil {
		t.Errorf("we refuse their signature: %v", err)
	}
	ours := Standard(mustKey(t, standardSecret), "msg_1", now, body)
	if err := oracle.Verify(body, triple("msg_1", now.Unix(), ours)); err != nil {
		t.Errorf("they refuse our signature: %v", err)
	}
	if err := oracle.Verify([]byte("other"), triple("msg_1", now.Unix(), ours)); err == nil {
		t.Error("they accept our signature for another body")
	}
}

func triple(id string, seconds int64, signatures string) http.Header {
	h := http.Header{}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, strconv.FormatInt(seconds, 10))
	h.Set(HeaderStandard, signatures)
	return h
}
