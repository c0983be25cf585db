package access_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/problem"
)

// issuer publishes keys and signs tokens with them.
type issuer struct {
	*httptest.Server
	asked  atomic.Int64 // how often the keys were fetched
	answer atomic.Pointer[http.HandlerFunc]
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		(*i.answer.Load())(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) answers(h http.HandlerFunc) { i.answer.Store(&h) }

func (i *issuer) says(text string) {
	i.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

// key is one of an issuer's.
type key struct {
	kid     string
	private ed25519.PrivateKey
}

func newKeyOf(t *testing.T, kid string) key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{kid, private}
}

// publishes makes these the keys of the issuer, and no others.
func (i *issuer) publishes(keys ...key) {
	var all []string
	for _, k := range keys {
		x := base64.RawURLEncoding.EncodeToString(k.private[32:])
		all = append(all, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, k.kid, x))
	}
	i.says(`{"keys":[` + strings.Join(all, ",") + `]}`)
}

func (i *issuer) tokens(t *testing.T) *access.Tokens {
	t.Helper()
	tokens, err := access.NewTokens(t.Context(), access.TokenOptions{Algorithm: "EdDSA", JWKSURL: i.URL, RoleClaim: "role"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func (k key) token(t *testing.T) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": "ada", "role": "viewer", "exp": time.Now().Unix() + 300})
	token.Header["kid"] = k.kid
	signed, err := token.SignedString(k.private)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func accepts(t *testing.T, tokens *access.Tokens, k key) {
	t.Helper()
	if p, err := tokens.Authenticate(k.token(t)); err != nil || p != (access.Principal{Name: "ada", Role: access.Viewer}) {
		t.Errorf("%s: %+v, %v", k.kid, p, err)
	}
}

func refuses(t *testing.T, tokens *access.Tokens, k key) {
	t.Helper()
	if p, err := tokens.Authenticate(k.token(t)); kindOf(err) != problem.KindUnauthenticated {
		t.Errorf("%s: %+v, %v", k.kid, p, err)
	}
}

func TestNewKeyIsFetchedOnceForAllWhoComeWithIt(t *testing.T) {
	t.Parallel()
	i, old, fresh := newIssuer(t), newKeyOf(t, "old"), newKeyOf(t, "new")
	i.publishes(old)
	tokens := i.tokens(t)
	accepts(t, tokens, old)
	i.publishes(fresh)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() { accepts(t, tokens, fresh) })
	}
	callers.Wait()
	if n := i.asked.Load(); n != 2 {
		t.Errorf("fetched %d times, want once at the start and once for the new key", n)
	}
	refuses(t, tokens, old)
}

func TestMadeUpKeysDoNotFloodTheIssuer(t *testing.T) {
	t.Parallel()
	i, good := newIssuer(t), newKeyOf(t, "good")
	i.publishes(good)
	tokens := i.tokens(t)
	var callers sync.WaitGroup
	for n := range 50 {
		callers.Go(func() { refuses(t, tokens, newKeyOf(t, fmt.Sprint("made-up-", n))) })
	}
	callers.Wait()
	if n := i.asked.Load(); n > 2 {
		t.Errorf("fetched %d times", n)
	}
	accepts(t, tokens, good)
}

func TestKnownKeysNeedNoIssuer(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"an error":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"no keys":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"another page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>Log in</html>`) },
		"nothing":      func(http.ResponseWriter, *http.Request) {},
		"half of it":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[{"kty":"OKP"`) },
		"no end": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[],"x":"`+strings.Repeat("x", 2<<20)+`"}`)
		},
		"another place": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"a broken line": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, good := newIssuer(t), newKeyOf(t, "good")
			i.publishes(good)
			tokens := i.tokens(t)
			i.answers(answer)
			refuses(t, tokens, newKeyOf(t, "unknown"))
			if n := i.asked.Load(); n != 2 {
				t.Errorf("asked %d times", n)
			}
			accepts(t, tokens, good)
		})
	}
}

func TestKnownKeysDoNotWaitForNewOnes(t *testing.T) {
	t.Parallel()
	i, good := newIssuer(t), newKeyOf(t, "good")
	i.publishes(good)
	tokens := i.tokens(t)
	asked, release := make(chan struct{}), make(chan struct{})
	i.answers(func(http.ResponseWriter, *http.Request) { close(asked); <-release })
	var waiting sync.WaitGroup
	waiting.Go(func() { refuses(t, tokens, newKeyOf(t, "unknown")) })
	<-asked
	accepts(t, tokens, good)
	close(release)
	waiting.Wait()
}

func TestWithoutAnyKeyNothingIsSaidOfATokenUntilTheIssuerAnswers(t *testing.T) {
	t.Parallel()
	i, good := newIssuer(t), newKeyOf(t, "good")
	i.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	tokens := i.tokens(t)
	i.publishes(good)
	accepts(t, tokens, good)

	down := newIssuer(t)
	down.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	tokens = down.tokens(t)
	if _, err := tokens.Authenticate(good.token(t)); kindOf(err) != problem.KindUnavailable {
		t.Errorf("got %v", err)
	}
	if _, err := tokens.Authenticate("a.b.c"); kindOf(err) != problem.KindUnauthenticated {
		t.Errorf("a token that is none: %v", err)
	}
}
