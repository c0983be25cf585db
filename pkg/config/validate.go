package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonicus/webhooks/pkg/secret"
)

const (
	minBootstrapKey = 32    // characters
	minJWTSecret    = 32    // bytes
	maxConcurrency  = 10000 // attempts in flight; beyond it the sockets of one process run out
)

// validate reports every setting that was read but cannot be used. bad holds
// the settings that have a problem already.
func (c *Config) validate(bad map[string]bool) []*Problem {
	var problems []*Problem
	check := func(name, text string) {
		if text != "" && !bad[name] {
			problems = append(problems, &Problem{name, text})
		}
	}
	c.checkDatabase(check)
	c.checkAddresses(check)
	c.checkSecrets(check)
	c.checkJWT(check)
	c.checkEgress(check)
	c.checkDispatch(check)
	c.checkRetry(check)
	c.checkBreaker(check)
	c.checkRest(check)
	return problems
}

func (c *Config) checkDatabase(check func(name, text string)) {
	check("SONICUS_DATABASE_URL", databaseURLProblem(c.DatabaseURL))
	if c.DatabaseDirectURL != c.DatabaseURL {
		check("SONICUS_DATABASE_DIRECT_URL", databaseURLProblem(c.DatabaseDirectURL))
	}
}

// databaseURLProblem quotes nothing of what it was given: even the parser's
// own message can hold the password.
func databaseURLProblem(v secret.Value) string {
	const write = "write postgres://user:password@host:5432/database" //nolint:gosec // an example, no password
	if v == "" {
		return "is not set; " + write
	}
	u, err := url.Parse(string(v))
	if err != nil || misread(u, string(v)) {
		return "is not a URL (special characters in the password must be percent-encoded); " + write
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "does not begin with postgres://; " + write
	}
	if strings.Trim(u.Path, "/") == "" {
		return "names no database; " + write
	}
	return ""
}

// misread reports a URL whose password ended the host part early, as in
// postgres://user:1/2@host/db: the parser takes the password for a port and a path.
func misread(u *url.URL, text string) bool {
	return u.User == nil && strings.Contains(text, "@")
}

func (c *Config) checkAddresses(check func(name, text string)) {
	check("SONICUS_HTTP_ADDR", addressProblem(c.HTTPAddr, "127.0.0.1:18100"))
	check("SONICUS_ADMIN_ADDR", addressProblem(c.AdminAddr, "127.0.0.1:18101"))
	if c.Binary == API && c.HTTPAddr == c.AdminAddr && !strings.HasSuffix(c.HTTPAddr, ":0") {
		check("SONICUS_ADMIN_ADDR", fmt.Sprintf("is %s like SONICUS_HTTP_ADDR; write another port", c.AdminAddr))
	}
}

func addressProblem(addr, example string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Sprintf("is %q, which is not host:port; write an address like %s", addr, example)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("is %q, whose port is not a number up to 65535; write an address like %s", addr, example)
	}
	if strings.ContainsAny(host, " /@") {
		return fmt.Sprintf("is %q, whose host is neither a name nor an address; write an address like %s", addr, example)
	}
	return ""
}

func (c *Config) checkSecrets(check func(name, text string)) {
	check("SONICUS_ENCRYPTION_KEYS", encryptionKeysProblem(c.EncryptionKeys))
	key := string(c.BootstrapAPIKey)
	if key != "" && len(key) < minBootstrapKey {
		check("SONICUS_BOOTSTRAP_API_KEY", fmt.Sprintf(
			"has %d characters and needs at least %d; make one with: openssl rand -hex 32", len(key), minBootstrapKey))
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		check("SONICUS_BOOTSTRAP_API_KEY",
			"has spaces or other characters that a bearer token cannot carry; make one with: openssl rand -hex 32")
	}
}

// encryptionKeysProblem asks for a key in development too: secrets are never
// stored in plain text, so that no database ever holds both kinds.
func encryptionKeysProblem(v secret.Value) string {
	const makeOne = `make one with: echo "k1:$(openssl rand -base64 32)"`
	if v == "" {
		return "is not set, and signing secrets are never stored unencrypted; " + makeOne
	}
	if _, err := secret.ParseKeys(string(v)); err != nil {
		return fmt.Sprintf("cannot be used (%v); %s", err, makeOne)
	}
	return ""
}

// checkJWT asks for exactly what the algorithm needs: a public key that can be taken
// for a secret, or a secret beside a set of keys, is how tokens are forged.
func (c *Config) checkJWT(check func(name, text string)) {
	switch c.JWTAlgorithm {
	case "HS256", "HS384", "HS512":
		if n := len(c.JWTSecret); n < minJWTSecret {
			check("SONICUS_JWT_SECRET", fmt.Sprintf("has %d bytes and needs at least %d; make one with: openssl rand -hex 32", n, minJWTSecret))
		}
		if c.JWTJWKSURL != "" {
			check("SONICUS_JWT_JWKS_URL", fmt.Sprintf("is of no use with SONICUS_JWT_ALG %s; leave it out", c.JWTAlgorithm))
		}
	case "RS256", "ES256", "EdDSA":
		check("SONICUS_JWT_JWKS_URL", c.jwksProblem())
		if c.JWTSecret != "" {
			check("SONICUS_JWT_SECRET", fmt.Sprintf("is of no use with SONICUS_JWT_ALG %s; leave it out", c.JWTAlgorithm))
		}
	case "":
		if c.JWTSecret != "" || c.JWTJWKSURL+c.JWTIssuer+c.JWTAudience != "" {
			check("SONICUS_JWT_ALG", "is not set, so that no JWT is accepted; write HS256, HS384, HS512, RS256, ES256 or EdDSA")
		}
	default:
		check("SONICUS_JWT_ALG", fmt.Sprintf("is %q; write HS256, HS384, HS512, RS256, ES256 or EdDSA", c.JWTAlgorithm))
	}
}

func (c *Config) jwksProblem() string {
	const write = "write https://issuer/path"
	u, err := url.Parse(c.JWTJWKSURL)
	switch {
	case c.JWTJWKSURL == "":
		return "is not set; " + write
	case err != nil || u.Host == "" || u.User != nil:
		return "is not a URL without user name and password; " + write
	case u.Scheme != "https" && (u.Scheme != "http" || !c.IsDevelopment()):
		return "does not begin with https://, and whoever can change the answer can make tokens; " + write
	}
	return ""
}

func (c *Config) checkEgress(check func(name, text string)) {
	if c.EgressProxyURL != "" {
		u, err := url.Parse(string(c.EgressProxyURL))
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			check("SONICUS_EGRESS_PROXY_URL", "is not the URL of a proxy; write http://host:port")
		}
	}
	if c.EgressCAFile != "" {
		if info, err := os.Stat(c.EgressCAFile); err != nil || info.IsDir() {
			check("SONICUS_EGRESS_CA_FILE", fmt.Sprintf("names no readable file (%s); write the path of a PEM file", c.EgressCAFile))
		}
	}
}

func (c *Config) checkDispatch(check func(name, text string)) {
	check("SONICUS_DISPATCH_CONCURRENCY", outside(c.DispatchConcurrency, 1, maxConcurrency))
	check("SONICUS_DISPATCH_POLL_INTERVAL", outside(c.DispatchPollInterval, 10*time.Millisecond, time.Minute))
	check("SONICUS_SHUTDOWN_GRACE", outside(c.ShutdownGrace, time.Millisecond, time.Hour))
	most := c.DispatchConcurrency
	if most < 1 { // wrong itself, and reported
		most = maxConcurrency
	}
	check("SONICUS_DISPATCH_PER_ENDPOINT", outside(c.DispatchPerEndpoint, 1, most))
}

func (c *Config) checkRetry(check func(name, text string)) {
	check("SONICUS_RETRY_MAX_INTERVAL", outside(c.RetryMaxInterval, time.Millisecond, 24*time.Hour))
	check("SONICUS_RETRY_INITIAL", outside(c.RetryInitial, time.Millisecond, 24*time.Hour))
	check("SONICUS_RETRY_MULTIPLIER", outside(c.RetryMultiplier, 1, 100))
	check("SONICUS_RETRY_JITTER", outside(c.RetryJitter, 0, 0.9))
	if c.RetryMaxInterval > 0 && c.RetryInitial > c.RetryMaxInterval {
		check("SONICUS_RETRY_INITIAL", fmt.Sprintf("is %v, longer than SONICUS_RETRY_MAX_INTERVAL (%v); write a shorter one, or a longer maximum",
			short(c.RetryInitial), short(c.RetryMaxInterval)))
	}
}

func (c *Config) checkBreaker(check func(name, text string)) {
	check("SONICUS_BREAKER_FAILURES", outside(c.BreakerFailures, 0, 1000))
	check("SONICUS_BREAKER_MAX_OPEN", outside(c.BreakerMaxOpen, time.Millisecond, 24*time.Hour))
	check("SONICUS_BREAKER_FIRST_OPEN", outside(c.BreakerFirstOpen, time.Millisecond, 24*time.Hour))
	if c.BreakerMaxOpen > 0 && c.BreakerFirstOpen > c.BreakerMaxOpen {
		check("SONICUS_BREAKER_FIRST_OPEN", fmt.Sprintf("is %v, longer than SONICUS_BREAKER_MAX_OPEN (%v); write a shorter one, or a longer maximum",
			short(c.BreakerFirstOpen), short(c.BreakerMaxOpen)))
	}
	check("SONICUS_DISABLE_AFTER", outside(c.DisableAfter, 0, 365*24*time.Hour))
}

// outside is empty when low ≤ v ≤ high. NaN is outside of every range.
func outside[T int | float64 | time.Duration](v, low, high T) string {
	if v >= low && v <= high {
		return ""
	}
	return fmt.Sprintf("is %v, outside of its range; write %v to %v", short(v), short(low), short(high))
}

// short writes 24h, not 24h0m0s.
func short(v any) string {
	s := fmt.Sprint(v)
	if _, ok := v.(time.Duration); !ok {
		return s
	}
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (c *Config) checkRest(check func(name, text string)) {
	check("SONICUS_API_RATE_LIMIT", outside(c.APIRateLimit, 0, 100_000))
	if c.Environment != Production && c.Environment != Development {
		check("SONICUS_ENV", fmt.Sprintf("is %q; write production or development", c.Environment))
	}
	if c.LogFormat != FormatJSON && c.LogFormat != FormatText {
		check("SONICUS_LOG_FORMAT", fmt.Sprintf("is %q; write json or text", c.LogFormat))
	}
}

// Warnings lists what is allowed but should be known to whoever starts the
// program: one sentence each, for the log, without secrets.
func (c Config) Warnings() []string {
	var warnings []string
	warn := func(when bool, format string, args ...any) {
		if when {
			warnings = append(warnings, fmt.Sprintf(format, args...))
		}
	}
	warn(c.IsDevelopment(), "SONICUS_ENV is development: webhooks may be sent over plain http")
	warn(c.Binary == API && !loopback(c.HTTPAddr),
		"SONICUS_HTTP_ADDR %s can be reached from other machines: put a TLS proxy in front of it", c.HTTPAddr)
	warn(!loopback(c.AdminAddr), "SONICUS_ADMIN_ADDR %s can be reached from other machines and asks for no key", c.AdminAddr)
	warn(c.JWTAlgorithm != "" && c.JWTIssuer == "", "SONICUS_JWT_ISSUER is not set: iss of JWTs is not looked at")
	warn(c.JWTAlgorithm != "" && c.JWTAudience == "", "SONICUS_JWT_AUDIENCE is not set: JWTs that were issued for other services are accepted too")
	warn(len(c.EgressAllowCIDRs) > 0, "SONICUS_EGRESS_ALLOW_CIDRS opens private ranges to webhooks: %v", c.EgressAllowCIDRs)
	warn(len(c.EgressAllowPorts) > 0, "SONICUS_EGRESS_ALLOW_PORTS opens refused ports to webhooks: %v", c.EgressAllowPorts)
	warn(c.EgressProxyURL != "", "SONICUS_EGRESS_PROXY_URL is set: the proxy, not this program, decides which addresses webhooks reach")
	return warnings
}

// Unknown names the variables of environ (KEY=value, as os.Environ has them)
// that look like settings and are not: a misspelled one would otherwise be
// ignored in silence. What only the other program reads is known too.
func Unknown(environ []string) []string {
	known := map[string]bool{"SONICUS_CACHE_DIR": true} // make's
	for _, d := range Describe() {
		known[d.Name], known[d.Alias] = true, true
		known[d.Name+"_FILE"] = d.Secret
	}
	var unknown []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "SONICUS_") && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// loopback reports whether only this machine can reach addr. A name other than
// localhost might be anything, so it counts as public.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}
