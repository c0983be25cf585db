// Package config owns the settings of both binaries: one struct, filled from
// the environment (default → validate → describe). The struct tags are the
// only list of settings: the README's table, `api config` and the error
// messages are all made from them.
//
// Tags beside env and envDefault: meaning (one sentence for people), only (the
// one binary that reads it), dispatcher (its default there), alias (a second
// name), shown (how an unwritable default reads). A field of type
// [secret.Value] is a secret: it is also read from the file named by …_FILE,
// and never printed.
package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"time"

	"github.com/sonicus/webhooks/pkg/secret"
)

// Binary names the program that settings are read for. A program reads
// only its own settings, so a dispatcher never holds the api's bootstrap key.
type Binary string

// The two programs.
const (
	API        Binary = "api"
	Dispatcher Binary = "dispatcher"
)

// The values of SONICUS_ENV and SONICUS_LOG_FORMAT.
const (
	Production  = "production"
	Development = "development"
	FormatJSON  = "json"
	FormatText  = "text"
)

// Config is every setting. Load fills it; what it holds is then valid, so
// nobody checks it again.
type Config struct {
	// Binary is the program that the settings were read for.
	Binary Binary `env:"-"`

	Environment string `env:"SONICUS_ENV" envDefault:"production" meaning:"production or development; development also allows http:// targets"`

	DatabaseURL       secret.Value `env:"SONICUS_DATABASE_URL" alias:"DATABASE_URL" meaning:"postgres://user:password@host:port/database; may be a transaction pooler; required"`
	DatabaseDirectURL secret.Value `env:"SONICUS_DATABASE_DIRECT_URL" shown:"SONICUS_DATABASE_URL" meaning:"the same database without a pooler between, for LISTEN and migrations"`
	AutoMigrate       bool         `env:"SONICUS_AUTO_MIGRATE" envDefault:"true" only:"api" meaning:"migrate at start, under a lock; false: refuse to start on pending migrations"`

	HTTPAddr  string `env:"SONICUS_HTTP_ADDR" envDefault:"127.0.0.1:18100" meaning:"the address the API listens on; the dispatcher reads it only to refuse it as a webhook target"`
	AdminAddr string `env:"SONICUS_ADMIN_ADDR" envDefault:"127.0.0.1:18101" dispatcher:"127.0.0.1:18102" meaning:"the address of /healthz, /readyz and /metrics"`

	EncryptionKeys  secret.Value `env:"SONICUS_ENCRYPTION_KEYS" meaning:"kid:base64(32 bytes)[,kid2:…]; the first encrypts, all decrypt; required, the same for both binaries"`
	BootstrapAPIKey secret.Value `env:"SONICUS_BOOTSTRAP_API_KEY" only:"api" meaning:"a super-admin API key accepted from the first start, for automation; at least 32 characters"`

	JWTAlgorithm string       `env:"SONICUS_JWT_ALG" only:"api" meaning:"accept JWTs beside API keys, signed with this and nothing else: HS256, HS384 or HS512 (with a secret), RS256, ES256 or EdDSA (with a JWKS)"`
	JWTSecret    secret.Value `env:"SONICUS_JWT_SECRET" only:"api" meaning:"what HS256, HS384 and HS512 are signed with; at least 32 bytes"`
	JWTJWKSURL   string       `env:"SONICUS_JWT_JWKS_URL" only:"api" meaning:"where the issuer of RS256, ES256 and EdDSA publishes its keys; https, in development also http"`
	JWTIssuer    string       `env:"SONICUS_JWT_ISSUER" only:"api" meaning:"what iss must be; without it any issuer is accepted whose signature is good"`
	JWTAudience  string       `env:"SONICUS_JWT_AUDIENCE" only:"api" meaning:"what aud must be or hold; without it tokens that were issued for other services are accepted too"`
	JWTRoleClaim string       `env:"SONICUS_JWT_ROLE_CLAIM" envDefault:"role" only:"api" meaning:"the claim that holds super_admin, admin or viewer"`

	APIRateLimit int `env:"SONICUS_API_RATE_LIMIT" envDefault:"0" only:"api" meaning:"requests per second that each API key, or subject of JWTs, may make to each process, 0–100000; 0: as many as it likes"`

	EgressAllowCIDRs []netip.Prefix `env:"SONICUS_EGRESS_ALLOW_CIDRS" meaning:"private ranges that webhooks may reach, comma separated; for development and tests"`
	EgressAllowPorts []int          `env:"SONICUS_EGRESS_ALLOW_PORTS" meaning:"ports that webhooks may reach although they are refused by default, comma separated"`
	EgressProxyURL   secret.Value   `env:"SONICUS_EGRESS_PROXY_URL" meaning:"HTTP proxy for all webhooks; the address check is then the proxy's job"`
	EgressCAFile     string         `env:"SONICUS_EGRESS_CA_FILE" meaning:"PEM file of certificate authorities trusted beside the system's"`
	EgressAdvertised []Origin       `env:"SONICUS_EGRESS_ADVERTISED_IPS" only:"api" meaning:"addresses and ranges that webhooks come from, comma separated; GET /webhooks/egress shows them to those who let in no others"`

	DispatchConcurrency  int           `env:"SONICUS_DISPATCH_CONCURRENCY" envDefault:"256" only:"dispatcher" meaning:"deliveries in flight per process, from the beginning of the request to its record, 1–10000; a crash repeats at most so many"`
	DispatchPerEndpoint  int           `env:"SONICUS_DISPATCH_PER_ENDPOINT" envDefault:"32" only:"dispatcher" meaning:"attempts in flight per endpoint and process; the default never exceeds the above"`
	DispatchPollInterval time.Duration `env:"SONICUS_DISPATCH_POLL_INTERVAL" envDefault:"1s" only:"dispatcher" meaning:"how often the queue is looked at, 10ms–1m; notifications only shorten it"`
	DispatchListen       bool          `env:"SONICUS_DISPATCH_LISTEN" envDefault:"true" only:"dispatcher" meaning:"listen for notifications on the direct URL"`

	ShutdownGrace time.Duration `env:"SONICUS_SHUTDOWN_GRACE" envDefault:"30s" meaning:"how long running requests and attempts may take to end after SIGTERM, at most 1h"`

	RetryInitial     time.Duration `env:"SONICUS_RETRY_INITIAL" envDefault:"10s" only:"dispatcher" meaning:"wait before the first retry"`
	RetryMultiplier  float64       `env:"SONICUS_RETRY_MULTIPLIER" envDefault:"5" only:"dispatcher" meaning:"each further wait is this many times the last, 1–100"`
	RetryMaxInterval time.Duration `env:"SONICUS_RETRY_MAX_INTERVAL" envDefault:"24h" only:"dispatcher" meaning:"no wait is longer, at most 24h"`
	RetryJitter      float64       `env:"SONICUS_RETRY_JITTER" envDefault:"0.2" only:"dispatcher" meaning:"each wait varies by this share, up and down, 0–0.9"`

	BreakerFailures  int           `env:"SONICUS_BREAKER_FAILURES" envDefault:"10" only:"dispatcher" meaning:"failures in a row that open an endpoint's circuit breaker, over all dispatchers, 0–1000; 0: never"`
	BreakerFirstOpen time.Duration `env:"SONICUS_BREAKER_FIRST_OPEN" envDefault:"5s" only:"dispatcher" meaning:"an open breaker lets a probe through after this long; each further wait is twice the last"`
	BreakerMaxOpen   time.Duration `env:"SONICUS_BREAKER_MAX_OPEN" envDefault:"5m" only:"dispatcher" meaning:"longest wait between two probes, at most 24h"`
	DisableAfter     time.Duration `env:"SONICUS_DISABLE_AFTER" envDefault:"120h" only:"dispatcher" meaning:"an endpoint with nothing but failures for this long is switched off; what is queued for it stays; 0: never"`

	LogLevel  slog.Level `env:"SONICUS_LOG_LEVEL" envDefault:"info" meaning:"debug, info, warn or error"`
	LogFormat string     `env:"SONICUS_LOG_FORMAT" envDefault:"json" meaning:"json or text"`
	LogFile   string     `env:"SONICUS_LOG_FILE" meaning:"append the log to this file as well as to stderr"`

	sources map[string]string // setting → the name it was read from; absent: the default
}

// IsDevelopment reports whether SONICUS_ENV is development.
func (c Config) IsDevelopment() bool { return c.Environment == Development }

// EgressProxy is the proxy of all webhooks, nil for none. It has been checked by Load.
func (c Config) EgressProxy() *url.URL {
	if c.EgressProxyURL == "" {
		return nil
	}
	proxy, err := url.Parse(string(c.EgressProxyURL))
	if err != nil { // cannot be: see checkEgress
		return &url.URL{}
	}
	return proxy
}
