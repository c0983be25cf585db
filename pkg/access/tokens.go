package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
)

// ErrToken: the bearer is a JWT, and not a good one. For logs only.
var ErrToken = errors.New("the token is not accepted")

const (
	maxToken = 8 << 10          // bytes
	leeway   = 30 * time.Second // between the clock of whoever issues tokens and this one
)

// TokenOptions say which JWTs are accepted. Algorithm is the only one that is:
// with a choice, whoever writes a token would make it.
type TokenOptions struct {
	Algorithm string       // HS256, HS384 or HS512 with Secret, RS256, ES256 or EdDSA with JWKSURL
	Secret    secret.Value // 32 bytes at least
	JWKSURL   string       // where the issuer publishes its keys
	Issuer    string       // what iss must be; empty: anything
	Audience  string       // what aud must be or hold; empty: anything
	RoleClaim string       // the claim that holds the role
}

// Tokens are the JWTs of one issuer.
type Tokens struct {
	algorithm string
	roleClaim string
	parser    *jwt.Parser
	key       jwt.Keyfunc
	published *published // nil with a secret
}

// NewTokens makes the tokens of an issuer known. Keys that it publishes are fetched
// here, for at most five seconds, and again in the background until ctx ends; that
// they cannot be had is logged and no error.
func NewTokens(ctx context.Context, o TokenOptions, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{algorithm: o.Algorithm, roleClaim: o.RoleClaim, parser: newParser(o)}
	if strings.HasPrefix(o.Algorithm, "HS") {
		key := []byte(o.Secret)
		t.key = func(*jwt.Token) (any, error) { return key, nil }
		return t, nil
	}
	var err error
	if t.published, err = fetch(ctx, o.JWKSURL, log); err != nil {
		return nil, err
	}
	t.key = t.published.key
	return t, nil
}

func newParser(o TokenOptions) *jwt.Parser {
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{o.Algorithm}), jwt.WithStrictDecoding(), jwt.WithJSONNumber(),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway),
	}
	if o.Issuer != "" {
		options = append(options, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		options = append(options, jwt.WithAudience(o.Audience))
	}
	return jwt.NewParser(options...)
}

// Authenticate returns whom a token is for. One that is not accepted is a problem of
// kind Unauthenticated, like a bad key; only logs tell why. While none of the
// published keys could be fetched yet, nothing can be said of a token: that is a
// problem of kind Unavailable.
func (t *Tokens) Authenticate(token string) (Principal, error) {
	principal, err := t.verify(token)
	switch {
	case errors.Is(err, errNoKeys):
		return Principal{}, problem.Unavailable("unavailable", "The keys for tokens could not be fetched yet. Try again shortly.", err)
	case err != nil:
		return Principal{}, unauthenticated(err)
	}
	return principal, nil
}

// verify reads the token's own words first, so that no key is looked for, and
// nothing fetched, on the word of a token that would not be accepted anyway.
func (t *Tokens) verify(token string) (Principal, error) {
	words, err := read(token)
	if err != nil {
		return Principal{}, err
	}
	if err := words.header.check(t.algorithm); err != nil {
		return Principal{}, err
	}
	principal, err := words.claims.principal(t.roleClaim)
	if err != nil {
		return Principal{}, err
	}
	if _, err := t.parser.Parse(token, t.key); err != nil {
		return Principal{}, reasonOf(err)
	}
	return principal, nil
}

// reasons are what the parser refuses tokens for, the most telling first.
var reasons = []error{
	errNoKeys, errKeyUnknown, errKeyUnfit, jwt.ErrTokenMalformed, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenUnverifiable, jwt.ErrTokenExpired,
	jwt.ErrTokenNotValidYet, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenRequiredClaimMissing,
}

// reasonOf keeps of an error which it is, and not its text, which repeats what was sent.
func reasonOf(err error) error {
	i := slices.IndexFunc(reasons, func(reason error) bool { return errors.Is(err, reason) })
	if i < 0 {
		return ErrToken
	}
	return fmt.Errorf("%w: %w", ErrToken, reasons[i])
}
