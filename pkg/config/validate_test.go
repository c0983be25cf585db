package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/config"
)

// problems loads the settings and returns the lines of the error.
func problems(binary config.Binary, vars map[string]string) []string {
	_, err := config.Load(func(name string) string { return vars[name] }, binary)
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestProblemsNameTheVariableAndWhatToWrite(t *testing.T) {
	t.Parallel()
	const makeKey = `make one with: echo "k1:$(openssl rand -base64 32)"`
	const databaseForm = "write postgres://user:password@host:5432/database"
	tests := []struct{ name, value, want string }{
		{"SONICUS_ENV", "prod", `SONICUS_ENV is "prod"; write production or development`},
		{"SONICUS_DATABASE_URL", "", "SONICUS_DATABASE_URL is not set; " + databaseForm},
		{"SONICUS_DATABASE_URL", "mysql://db/x", "SONICUS_DATABASE_URL does not begin with postgres://; " + databaseForm},
		{"SONICUS_DATABASE_URL", "postgres://db", "SONICUS_DATABASE_URL names no database; " + databaseForm},
		{"SONICUS_DATABASE_DIRECT_URL", "db", "SONICUS_DATABASE_DIRECT_URL does not begin with postgres://; " + databaseForm},
		{"SONICUS_HTTP_ADDR", "18100", `SONICUS_HTTP_ADDR is "18100", which is not host:port; write an address like 127.0.0.1:18100`},
		{"SONICUS_HTTP_ADDR", "http://x:80", `SONICUS_HTTP_ADDR is "http://x:80", which is not host:port; write an address like 127.0.0.1:18100`},
		{"SONICUS_ADMIN_ADDR", ":http", `SONICUS_ADMIN_ADDR is ":http", whose port is not a number up to 65535; write an address like 127.0.0.1:18101`},
		{"SONICUS_ADMIN_ADDR", "a b:1", `SONICUS_ADMIN_ADDR is "a b:1", whose host is neither a name nor an address; write an address like 127.0.0.1:18101`},
		{"SONICUS_ENCRYPTION_KEYS", "", "SONICUS_ENCRYPTION_KEYS is not set, and signing secrets are never stored unencrypted; " + makeKey},
		{"SONICUS_EGRESS_ALLOW_CIDRS", "10.0.0.0/8,lan", `SONICUS_EGRESS_ALLOW_CIDRS has "lan", which is no address range; write ranges like 10.0.0.0/8,fd00::/8`},
		{"SONICUS_EGRESS_ALLOW_CIDRS", "10.0.0.7", "SONICUS_EGRESS_ALLOW_CIDRS has 10.0.0.7, an address and not a range; write 10.0.0.7/32"},
		{"SONICUS_EGRESS_ALLOW_CIDRS", "10.1.2.3/8", "SONICUS_EGRESS_ALLOW_CIDRS has 10.1.2.3/8, which points inside a range; write 10.0.0.0/8 or a smaller one"},
		{"SONICUS_EGRESS_ALLOW_PORTS", "80,0", `SONICUS_EGRESS_ALLOW_PORTS has "0", which is no port; write numbers from 1 to 65535 like 8200,9200`},
		{"SONICUS_EGRESS_ALLOW_PORTS", "65536", `SONICUS_EGRESS_ALLOW_PORTS has "65536", which is no port; write numbers from 1 to 65535 like 8200,9200`},
		{"SONICUS_EGRESS_PROXY_URL", "proxy:3128", "SONICUS_EGRESS_PROXY_URL is not the URL of a proxy; write http://host:port"},
		{"SONICUS_EGRESS_CA_FILE", "/nowhere.pem", "SONICUS_EGRESS_CA_FILE names no readable file (/nowhere.pem); write the path of a PEM file"},
		{"SONICUS_DISPATCH_CONCURRENCY", "many", `SONICUS_DISPATCH_CONCURRENCY is "many", which is not a whole number; write digits only, like 256`},
		{"SONICUS_DISPATCH_CONCURRENCY", "0", "SONICUS_DISPATCH_CONCURRENCY is 0, outside of its range; write 1 to 10000"},
		{"SONICUS_DISPATCH_CONCURRENCY", "10001", "SONICUS_DISPATCH_CONCURRENCY is 10001, outside of its range; write 1 to 10000"},
		{"SONICUS_DISPATCH_PER_ENDPOINT", "257", "SONICUS_DISPATCH_PER_ENDPOINT is 257, outside of its range; write 1 to 256"},
		{"SONICUS_DISPATCH_PER_ENDPOINT", "0", "SONICUS_DISPATCH_PER_ENDPOINT is 0, outside of its range; write 1 to 256"},
		{"SONICUS_DISPATCH_POLL_INTERVAL", "5", `SONICUS_DISPATCH_POLL_INTERVAL is "5", which is not a duration; write a number with its unit (ms, s, m, h), like 1s`},
		{"SONICUS_DISPATCH_POLL_INTERVAL", "9ms", "SONICUS_DISPATCH_POLL_INTERVAL is 9ms, outside of its range; write 10ms to 1m"},
		{"SONICUS_DISPATCH_POLL_INTERVAL", "61s", "SONICUS_DISPATCH_POLL_INTERVAL is 1m1s, outside of its range; write 10ms to 1m"},
		{"SONICUS_DISPATCH_LISTEN", "maybe", `SONICUS_DISPATCH_LISTEN is "maybe", which is not true or false; write one of them`},
		{"SONICUS_SHUTDOWN_GRACE", "-1s", "SONICUS_SHUTDOWN_GRACE is -1s, outside of its range; write 1ms to 1h"},
		{"SONICUS_RETRY_INITIAL", "0s", "SONICUS_RETRY_INITIAL is 0s, outside of its range; write 1ms to 24h"},
		{"SONICUS_RETRY_MAX_INTERVAL", "25h", "SONICUS_RETRY_MAX_INTERVAL is 25h, outside of its range; write 1ms to 24h"},
		{"SONICUS_BREAKER_MAX_OPEN", "1s", "SONICUS_BREAKER_FIRST_OPEN is 5s, longer than SONICUS_BREAKER_MAX_OPEN (1s); write a shorter one, or a longer maximum"},
		{"SONICUS_RETRY_MAX_INTERVAL", "1s", "SONICUS_RETRY_INITIAL is 10s, longer than SONICUS_RETRY_MAX_INTERVAL (1s); write a shorter one, or a longer maximum"},
		{"SONICUS_RETRY_MULTIPLIER", "0.9", "SONICUS_RETRY_MULTIPLIER is 0.9, outside of its range; write 1 to 100"},
		{"SONICUS_RETRY_MULTIPLIER", "NaN", "SONICUS_RETRY_MULTIPLIER is NaN, outside of its range; write 1 to 100"},
		{"SONICUS_RETRY_MULTIPLIER", "x", `SONICUS_RETRY_MULTIPLIER is "x", which is not a number; write it with a decimal point, like 5`},
		{"SONICUS_RETRY_JITTER", "1", "SONICUS_RETRY_JITTER is 1, outside of its range; write 0 to 0.9"},
		{"SONICUS_LOG_LEVEL", "loud", `SONICUS_LOG_LEVEL is "loud", which is not a level; write debug, info, warn or error`},
		{"SONICUS_LOG_FORMAT", "xml", `SONICUS_LOG_FORMAT is "xml"; write json or text`},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff([]string{tt.want}, problems(config.Dispatcher, minimal(tt.name, tt.value))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestBoundsThemselvesAreAllowed(t *testing.T) {
	t.Parallel()
	for _, pair := range [][]string{
		{"SONICUS_DISPATCH_CONCURRENCY", "1"},
		{"SONICUS_DISPATCH_CONCURRENCY", "10000", "SONICUS_DISPATCH_PER_ENDPOINT", "10000"},
		{"SONICUS_DISPATCH_POLL_INTERVAL", "10ms"},
		{"SONICUS_DISPATCH_POLL_INTERVAL", "1m"},
		{"SONICUS_RETRY_MULTIPLIER", "1", "SONICUS_RETRY_JITTER", "0.9"},
		{"SONICUS_RETRY_INITIAL", "24h", "SONICUS_RETRY_JITTER", "0"},
		{"SONICUS_HTTP_ADDR", ":0", "SONICUS_ADMIN_ADDR", ":0"},
		{"SONICUS_DATABASE_URL", "postgresql:///webhooks?host=/run/postgresql"},
	} {
		if got := problems(config.Dispatcher, minimal(pair...)); got != nil {
			t.Errorf("%v: %v", pair, got)
		}
	}
}

func TestAPIProblems(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ value, want string }{
		"SONICUS_BOOTSTRAP_API_KEY":     {"shorty", "SONICUS_BOOTSTRAP_API_KEY has 6 characters and needs at least 32; make one with: openssl rand -hex 32"},
		"SONICUS_API_RATE_LIMIT":        {"-1", "SONICUS_API_RATE_LIMIT is -1, outside of its range; write 0 to 100000"},
		"SONICUS_EGRESS_ADVERTISED_IPS": {"198.51.100.7,nat", `SONICUS_EGRESS_ADVERTISED_IPS has "nat", which is no address range; write ranges like 10.0.0.0/8,fd00::/8`},
		"SONICUS_AUTO_MIGRATE":          {"later", `SONICUS_AUTO_MIGRATE is "later", which is not true or false; write one of them`},
		"SONICUS_ADMIN_ADDR":            {"127.0.0.1:18100", "SONICUS_ADMIN_ADDR is 127.0.0.1:18100 like SONICUS_HTTP_ADDR; write another port"},
	} {
		if diff := cmp.Diff([]string{tt.want}, problems(config.API, minimal(name, tt.value))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	spaced := strings.Repeat("a", 31) + " b"
	if got := problems(config.API, minimal("SONICUS_BOOTSTRAP_API_KEY", spaced)); len(got) != 1 || !strings.Contains(got[0], "cannot carry") {
		t.Errorf("spaces: %v", got)
	}
}

func TestJWTSettingsMustFitTheirAlgorithm(t *testing.T) {
	t.Parallel()
	const (
		alg, secret, jwks = "SONICUS_JWT_ALG", "SONICUS_JWT_SECRET", "SONICUS_JWT_JWKS_URL"
		url               = "https://issuer.example/jwks.json"
	)
	good := strings.Repeat("s", 32)
	for name, tt := range map[string]struct {
		vars []string
		want string // how the problem begins; empty: none
	}{
		"a secret":              {[]string{alg, "HS256", secret, good}, ""},
		"a longer algorithm":    {[]string{alg, "HS512", secret, good}, ""},
		"a set of keys":         {[]string{alg, "EdDSA", jwks, url, "SONICUS_JWT_ISSUER", "i", "SONICUS_JWT_AUDIENCE", "a"}, ""},
		"http in development":   {[]string{alg, "RS256", jwks, "http://127.0.0.1:1/", "SONICUS_ENV", "development"}, ""},
		"no secret":             {[]string{alg, "HS256"}, "SONICUS_JWT_SECRET has 0 bytes and needs at least 32"},
		"a short secret":        {[]string{alg, "HS384", secret, good[1:]}, "SONICUS_JWT_SECRET has 31 bytes"},
		"a secret and keys":     {[]string{alg, "HS256", secret, good, jwks, url}, "SONICUS_JWT_JWKS_URL is of no use"},
		"no keys":               {[]string{alg, "RS256"}, "SONICUS_JWT_JWKS_URL is not set"},
		"keys and a secret":     {[]string{alg, "ES256", jwks, url, secret, good}, "SONICUS_JWT_SECRET is of no use"},
		"keys over http":        {[]string{alg, "RS256", jwks, "http://issuer.example/"}, "SONICUS_JWT_JWKS_URL does not begin with https://"},
		"keys from a file":      {[]string{alg, "RS256", jwks, "file:///etc/passwd"}, "SONICUS_JWT_JWKS_URL is not a URL"},
		"a password in the URL": {[]string{alg, "RS256", jwks, "https://u:p@issuer.example/"}, "SONICUS_JWT_JWKS_URL is not a URL without"},
		"none":                  {[]string{alg, "none"}, `SONICUS_JWT_ALG is "none"`},
		"another case":          {[]string{alg, "hs256", secret, good}, `SONICUS_JWT_ALG is "hs256"`},
		"two":                   {[]string{alg, "HS256,RS256", secret, good}, `SONICUS_JWT_ALG is "HS256,RS256"`},
		"a secret alone":        {[]string{secret, good}, "SONICUS_JWT_ALG is not set"},
		"an audience alone":     {[]string{"SONICUS_JWT_AUDIENCE", "a"}, "SONICUS_JWT_ALG is not set"},
		"nothing but a claim":   {[]string{"SONICUS_JWT_ROLE_CLAIM", "roles"}, ""},
	} {
		got := problems(config.API, minimal(tt.vars...))
		if tt.want == "" && got != nil || tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.want)) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestLooseJWTsAreWarnedOf(t *testing.T) {
	t.Parallel()
	vars := minimal("SONICUS_JWT_ALG", "HS256", "SONICUS_JWT_SECRET", strings.Repeat("s", 32))
	cfg, err := config.Load(func(name string) string { return vars[name] }, config.API)
	if err != nil {
		t.Fatal(err)
	}
	warned := strings.Join(cfg.Warnings(), "\n")
	if !strings.Contains(warned, "SONICUS_JWT_ISSUER") || !strings.Contains(warned, "SONICUS_JWT_AUDIENCE") {
		t.Errorf("got %q", warned)
	}
}

func TestEncryptionKeyIsDemandedInDevelopmentToo(t *testing.T) {
	t.Parallel()
	got := problems(config.API, minimal("SONICUS_ENV", "development", "SONICUS_ENCRYPTION_KEYS", ""))
	if len(got) != 1 || !strings.HasPrefix(got[0], "SONICUS_ENCRYPTION_KEYS is not set") {
		t.Errorf("got %v", got)
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	got := problems(config.Dispatcher, map[string]string{
		"SONICUS_ENV": "staging", "SONICUS_DISPATCH_CONCURRENCY": "x", "SONICUS_RETRY_JITTER": "2",
		"SONICUS_ENCRYPTION_KEYS_FILE": "/nowhere/keys", "SONICUS_RETRY_INITIAL": "soon",
	})
	names := make([]string, len(got))
	for i, line := range got {
		names[i], _, _ = strings.Cut(line, " ")
	}
	slices.Sort(names)
	want := []string{
		"SONICUS_DATABASE_URL", "SONICUS_DISPATCH_CONCURRENCY", "SONICUS_ENCRYPTION_KEYS_FILE",
		"SONICUS_ENV", "SONICUS_RETRY_INITIAL", "SONICUS_RETRY_JITTER",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, strings.Join(got, "\n"))
	}
}

func TestSecretGivenTwiceIsRefused(t *testing.T) {
	t.Parallel()
	for _, d := range config.Describe() {
		if !d.Secret || d.ReadBy == "dispatcher" {
			continue
		}
		got := problems(config.API, minimal(d.Name, "x", d.Name+"_FILE", write(t, "y")))
		want := d.Name + " and " + d.Name + "_FILE are both set; keep one of them"
		if !slices.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestUnusableSecretFileIsNamed(t *testing.T) {
	t.Parallel()
	vars := minimal("SONICUS_ENCRYPTION_KEYS", "", "SONICUS_ENCRYPTION_KEYS_FILE", write(t, "\n"))
	if got := problems(config.API, vars); len(got) != 1 || !strings.HasPrefix(got[0], "SONICUS_ENCRYPTION_KEYS_FILE names an empty file, /") {
		t.Errorf("empty: %v", got)
	}
	vars["SONICUS_ENCRYPTION_KEYS_FILE"] = "/nowhere/keys"
	want := "SONICUS_ENCRYPTION_KEYS_FILE cannot be read (open /nowhere/keys: no such file or directory); write the path of a readable file"
	if diff := cmp.Diff([]string{want}, problems(config.API, vars)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestWarnsOfWhatIsAllowedButOpen(t *testing.T) {
	t.Parallel()
	if got := load(t, config.API, minimal("SONICUS_HTTP_ADDR", "localhost:1", "SONICUS_ADMIN_ADDR", "[::1]:2")).Warnings(); got != nil {
		t.Errorf("closed settings warn: %v", got)
	}
	cfg := load(t, config.API, minimal(
		"SONICUS_ENV", "development", "SONICUS_HTTP_ADDR", "0.0.0.0:18100", "SONICUS_ADMIN_ADDR", ":18101",
		"SONICUS_EGRESS_ALLOW_CIDRS", "127.0.0.0/8", "SONICUS_EGRESS_ALLOW_PORTS", "5432",
	))
	want := []string{
		"SONICUS_ENV is development: webhooks may be sent over plain http",
		"SONICUS_HTTP_ADDR 0.0.0.0:18100 can be reached from other machines: put a TLS proxy in front of it",
		"SONICUS_ADMIN_ADDR :18101 can be reached from other machines and asks for no key",
		"SONICUS_EGRESS_ALLOW_CIDRS opens private ranges to webhooks: [127.0.0.0/8]",
		"SONICUS_EGRESS_ALLOW_PORTS opens refused ports to webhooks: [5432]",
	}
	if diff := cmp.Diff(want, cfg.Warnings()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	proxied := load(t, config.Dispatcher, minimal("SONICUS_EGRESS_PROXY_URL", "http://user:proxy-canary@proxy:3128"))
	if got := strings.Join(proxied.Warnings(), "\n"); !strings.Contains(got, "SONICUS_EGRESS_PROXY_URL") || strings.Contains(got, "canary") {
		t.Errorf("proxy: %s", got)
	}
}

func TestMisspelledSettingsAreNamed(t *testing.T) {
	t.Parallel()
	got := config.Unknown([]string{
		"PATH=/bin", "SONICUS_DISPATCHER_CONCURRENCY=5", "SONICUS_DISPATCH_CONCURRENCY=5", "SONICUS_DATABASE_URL_FILE=/x", "SONICUS_LOG_LEVEL_FILE=/x",
		"DATABASE_URL=x", "SONICUS_BOOTSTRAP_API_KEY=x",
	})
	if want := []string{"SONICUS_DISPATCHER_CONCURRENCY", "SONICUS_LOG_LEVEL_FILE"}; !slices.Equal(got, want) {
		t.Errorf("unknown: %v, want %v", got, want)
	}
}
