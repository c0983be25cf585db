package config_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/config"
	"github.com/sonicus/webhooks/pkg/secret"
)

const (
	databaseURL = "postgres://sonic:hunter2-canary@db.example:5432/webhooks?sslmode=require"
	keys        = "k1:a2V5LWNhbmFyeS1rZXktY2FuYXJ5LWtleS1jYW5hcnk=" // 32 bytes
	apiKey      = "bootstrap-canary-bootstrap-canary"
)

// minimal is the smallest environment that both programs start with.
func minimal(changes ...string) map[string]string {
	vars := map[string]string{"SONICUS_DATABASE_URL": databaseURL, "SONICUS_ENCRYPTION_KEYS": keys}
	for i := 0; i < len(changes); i += 2 {
		vars[changes[i]] = changes[i+1]
	}
	return vars
}

func load(t *testing.T, binary config.Binary, vars map[string]string) config.Config {
	t.Helper()
	cfg, err := config.Load(func(name string) string { return vars[name] }, binary)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	t.Parallel()
	cfg := load(t, config.Dispatcher, minimal())
	got := []any{
		cfg.Environment, cfg.DatabaseDirectURL, cfg.HTTPAddr, cfg.AdminAddr,
		cfg.DispatchConcurrency, cfg.DispatchPerEndpoint, cfg.DispatchPollInterval, cfg.DispatchListen, cfg.ShutdownGrace,
		cfg.RetryInitial, cfg.RetryMultiplier, cfg.RetryMaxInterval, cfg.RetryJitter, cfg.LogLevel, cfg.LogFormat,
	}
	want := []any{
		"production", secret.Value(databaseURL), "127.0.0.1:18100", "127.0.0.1:18102",
		256, 32, time.Second, true, 30 * time.Second,
		10 * time.Second, 5.0, 24 * time.Hour, 0.2, slog.LevelInfo, "json",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if api := load(t, config.API, minimal()); !api.AutoMigrate || api.AdminAddr != "127.0.0.1:18101" || api.IsDevelopment() {
		t.Errorf("api: AutoMigrate %v, AdminAddr %s, development %v", api.AutoMigrate, api.AdminAddr, api.IsDevelopment())
	}
}

func TestReadsEveryKindOfValue(t *testing.T) {
	t.Parallel()
	cfg := load(t, config.Dispatcher, minimal(
		"SONICUS_ENV", " development ",
		"SONICUS_DATABASE_DIRECT_URL", "postgres://direct/webhooks",
		"SONICUS_EGRESS_ALLOW_CIDRS", "127.0.0.0/8, ::1/128,",
		"SONICUS_EGRESS_ALLOW_PORTS", "5432, 9200",
		"SONICUS_DISPATCH_LISTEN", "false",
		"SONICUS_DISPATCH_POLL_INTERVAL", "50ms",
		"SONICUS_RETRY_MULTIPLIER", "1.5",
		"SONICUS_LOG_LEVEL", "debug",
	))
	wantCIDRs := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	if diff := cmp.Diff(wantCIDRs, cfg.EgressAllowCIDRs, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{5432, 9200}, cfg.EgressAllowPorts); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	if !cfg.IsDevelopment() || cfg.DatabaseDirectURL != "postgres://direct/webhooks" || cfg.DispatchListen ||
		cfg.DispatchPollInterval != 50*time.Millisecond || cfg.RetryMultiplier != 1.5 || cfg.LogLevel != slog.LevelDebug {
		t.Errorf("got %+v", cfg)
	}
}

func TestEmptyValueIsTheDefault(t *testing.T) {
	t.Parallel()
	cfg := load(t, config.Dispatcher, minimal("SONICUS_ENV", "", "SONICUS_ADMIN_ADDR", " ", "SONICUS_DISPATCH_LISTEN", ""))
	if cfg.Environment != "production" || cfg.AdminAddr != "127.0.0.1:18102" || !cfg.DispatchListen {
		t.Errorf("got %+v", cfg)
	}
}

func TestFewAttemptsInFlightLowerTheDefaultPerEndpoint(t *testing.T) {
	t.Parallel()
	if cfg := load(t, config.Dispatcher, minimal("SONICUS_DISPATCH_CONCURRENCY", "8")); cfg.DispatchPerEndpoint != 8 {
		t.Errorf("per endpoint %d, want 8", cfg.DispatchPerEndpoint)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	vars := map[string]string{
		"SONICUS_DATABASE_URL_FILE":      write(t, databaseURL+"\r\n"),
		"SONICUS_ENCRYPTION_KEYS_FILE":   write(t, keys+"\n"),
		"SONICUS_BOOTSTRAP_API_KEY_FILE": write(t, apiKey),
		"DATABASE_URL":                   "postgres://platform/ignored",
	}
	cfg := load(t, config.API, vars)
	if cfg.DatabaseURL != databaseURL || cfg.EncryptionKeys != keys || cfg.BootstrapAPIKey != apiKey {
		t.Errorf("got %q %q %q", string(cfg.DatabaseURL), string(cfg.EncryptionKeys), string(cfg.BootstrapAPIKey))
	}
}

func TestAliasCountsOnlyWithoutTheName(t *testing.T) {
	t.Parallel()
	const platform = "postgres://platform/app"
	vars := minimal("DATABASE_URL", platform)
	if cfg := load(t, config.API, vars); cfg.DatabaseURL != databaseURL {
		t.Errorf("the alias won: %q", string(cfg.DatabaseURL))
	}
	delete(vars, "SONICUS_DATABASE_URL")
	if cfg := load(t, config.API, vars); cfg.DatabaseURL != platform {
		t.Errorf("the alias was not read: %q", string(cfg.DatabaseURL))
	}
}

func TestProgramDoesNotReadTheOthersSettings(t *testing.T) {
	t.Parallel()
	vars := minimal("SONICUS_BOOTSTRAP_API_KEY", "short", "SONICUS_RETRY_JITTER", "7")
	if cfg, err := config.Load(func(n string) string { return vars[n] }, config.Dispatcher); cfg.BootstrapAPIKey != "" ||
		err == nil || strings.Contains(err.Error(), "BOOTSTRAP") {
		t.Errorf("the dispatcher read the api's key: %v", err)
	}
	if _, err := config.Load(func(n string) string { return vars[n] }, config.API); err == nil || strings.Contains(err.Error(), "RETRY") {
		t.Errorf("the api read the dispatcher's schedule: %v", err)
	}
}

func TestCommandNeedsOnlyItsOwnSettings(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"SONICUS_DATABASE_URL": databaseURL, "SONICUS_LOG_LEVEL": "loud"}
	getenv := func(name string) string { return vars[name] }
	if _, err := config.Load(getenv, config.API, "SONICUS_DATABASE_URL", "SONICUS_DATABASE_DIRECT_URL"); err != nil {
		t.Errorf("a migration asked for more: %v", err)
	}
	delete(vars, "SONICUS_DATABASE_URL")
	_, err := config.Load(getenv, config.API, "SONICUS_DATABASE_URL")
	if problem, ok := errors.AsType[*config.Problem](err); !ok || problem.Name != "SONICUS_DATABASE_URL" {
		t.Errorf("got %v", err)
	}
}

func TestProxyIsOnlyTheOneThatIsSet(t *testing.T) {
	t.Parallel()
	if got := load(t, config.API, minimal("HTTP_PROXY", "http://other:3128")).EgressProxy(); got != nil {
		t.Errorf("got %v", got)
	}
	if got := load(t, config.Dispatcher, minimal("SONICUS_EGRESS_PROXY_URL", "http://user:word@proxy:3128")).EgressProxy(); got == nil || got.Host != "proxy:3128" || got.User == nil {
		t.Errorf("got %v", got)
	}
}
