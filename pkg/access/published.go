package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

var (
	errNoKeys     = errors.New("no key could be fetched yet")
	errKeyUnknown = errors.New("its key is not published")
	errKeyUnfit   = errors.New("its key does not fit the algorithm")
)

const (
	fetchTimeout = 5 * time.Second  // at the start and in the background
	newKeyWait   = 3 * time.Second  // how long a request waits for a key that is not known yet
	newKeyEvery  = 10 * time.Second // how often such requests may fetch
	fetchEvery   = 15 * time.Minute // how long a key that was withdrawn is still accepted
	maxKeySet    = 1 << 20          // bytes
	minRSA       = 2048             // bits
)

// published are the keys that an issuer publishes as a JWK set. Keys that are known
// need nobody: an issuer that does not answer is an outage only for new ones.
type published struct {
	known keySet
	all   keyfunc.Keyfunc
	turn  sync.Mutex // held while a key that is not known is looked for
}

// keySet is the last set that was fetched.
type keySet struct{ *jwkset.MemoryJWKSet }

// KeyReplaceAll keeps what there is when a set comes without keys: it is rather a
// mistake, such as another page with status 200, than the end of all keys.
func (s keySet) KeyReplaceAll(ctx context.Context, fetched []jwkset.JWK) error {
	if len(fetched) == 0 {
		return errors.New("the set has no key of a known kind")
	}
	return s.MemoryJWKSet.KeyReplaceAll(ctx, fetched)
}

func fetch(ctx context.Context, url string, log *slog.Logger) (*published, error) {
	p := &published{known: keySet{jwkset.NewMemoryStorage()}}
	source, err := jwkset.NewStorageFromHTTP(url, jwkset.HTTPClientStorageOptions{
		Ctx: ctx, Client: keyClient(), HTTPTimeout: fetchTimeout, NoErrorReturnFirstHTTPReq: true, RefreshInterval: fetchEvery,
		RefreshErrorHandler: func(ctx context.Context, err error) {
			log.WarnContext(ctx, "keys for tokens not fetched", slog.Any("error", err))
		},
		Storage: p.known,
	})
	if err != nil {
		return nil, fmt.Errorf("fetch the keys for tokens: %w", err)
	}
	storage, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs: map[string]jwkset.Storage{url: source}, RateLimitWaitMax: newKeyWait,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(newKeyEvery), 1),
	})
	if err != nil {
		return nil, fmt.Errorf("keep the keys for tokens: %w", err)
	}
	p.all, err = keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: storage, UseWhitelist: []jwkset.USE{jwkset.UseSig, ""}})
	if err != nil {
		return nil, fmt.Errorf("use the keys for tokens: %w", err)
	}
	return p, nil
}

// keyClient follows no redirects and reads no more than a set of keys can have.
func keyClient() *http.Client {
	return &http.Client{
		Transport:     bounded{&http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, maxKeySet)
	}
	return response, err
}

// key finds the key of a token by its kid, which is needed: without one every key
// would have to be tried.
func (p *published) key(token *jwt.Token) (any, error) {
	kid, ok := token.Header["kid"].(string)
	if !ok {
		return nil, errKeyUnknown
	}
	key, err := p.find(token, kid)
	switch {
	case err != nil && p.empty():
		return nil, fmt.Errorf("%w: %w", errNoKeys, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errKeyUnknown, err)
	case !fits(token.Method.Alg(), key):
		return nil, errKeyUnfit
	}
	return key, nil
}

// find may fetch the set when kid is not in it. Requests that come meanwhile with a
// new key wait for that, and then find it there.
func (p *published) find(token *jwt.Token, kid string) (any, error) {
	if _, err := p.known.KeyRead(context.Background(), kid); err != nil {
		p.turn.Lock()
		defer p.turn.Unlock()
	}
	return p.all.Keyfunc(token)
}

func (p *published) empty() bool {
	keys, err := p.known.KeyReadAll(context.Background())
	return err == nil && len(keys) == 0
}

// fits says whether a key is of the kind, and the strength, that an algorithm needs.
func fits(algorithm string, key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return algorithm == "RS256" && k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		return algorithm == "ES256" && k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	default:
		return false
	}
}
