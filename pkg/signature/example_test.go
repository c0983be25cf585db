package signature_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/sonicus/webhooks/pkg/signature"
)

// receiver answers 204 to genuine webhooks and 401 to anything else.
func receiver(verifier *signature.Verifier) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)) // raw bytes, before any JSON decoding
		if err != nil {
			http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
			return
		}
		if err := verifier.Verify(r.Header, body); err != nil {
			http.Error(w, "not a genuine webhook", http.StatusUnauthorized)
			return
		}
		// Store the body under its webhook-id, which is the same on every retry, and
		// work on it later: a slow answer counts as a failure.
		w.WriteHeader(http.StatusNoContent)
	}
}

// A receiver: read the body with a cap, verify it, answer 204.
func ExampleVerifier() {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	verifier, err := signature.New(secret) // during a rotation: New(newSecret, oldSecret)
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(receiver(verifier))
	defer server.Close()

	const body = `{"event_type":"organization.created"}`
	fmt.Println(post(server.URL, secret, body, body))
	fmt.Println(post(server.URL, secret, body, `{"event_type":"forged"}`))
	// Output:
	// 204
	// 401
}

// post signs one body, as the sender does, and sends another.
func post(url, secret, signed, sent string) int {
	key, err := signature.DecodeSecret(secret)
	if err != nil {
		return 0
	}
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(sent))
	if err != nil {
		return 0
	}
	now := time.Now()
	req.Header.Set(signature.HeaderID, "0198b5a4-7d1c-7f5e-9a55-1c0ffee00001")
	req.Header.Set(signature.HeaderTimestamp, fmt.Sprint(now.Unix()))
	req.Header.Set(signature.HeaderStandard, signature.Standard(key, req.Header.Get(signature.HeaderID), now, []byte(signed)))
	req.Header.Set(signature.HeaderSonicus, signature.Sonicus(key, []byte(signed)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
