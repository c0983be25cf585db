package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/config"
)

var update = flag.Bool("update", false, "write the settings table into README.md")

const (
	readme = "../../README.md"
	begin  = "<!-- settings:begin -->\n"
	end    = "<!-- settings:end -->"
)

func TestReadmeTableIsMadeFromTheTags(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(content), begin)
	table, after, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		t.Fatalf("README.md has no lines %s and %s around its settings table", strings.TrimSpace(begin), end)
	}
	if *update {
		if err := os.WriteFile(readme, []byte(before+begin+config.MarkdownTable()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(config.MarkdownTable(), table); diff != "" {
		t.Errorf("the settings table is stale; run: go test ./pkg/config -run Readme -update\n(-want +got):\n%s", diff)
	}
}

func TestEverySettingIsDescribed(t *testing.T) {
	t.Parallel()
	rows := config.Describe()
	for _, d := range rows {
		if !strings.HasPrefix(d.Name, "SONICUS_") || d.Meaning == "" || strings.Contains(d.Meaning, "|") || strings.HasSuffix(d.Meaning, ".") {
			t.Errorf("%+v", d)
		}
	}
	secrets := slices.DeleteFunc(rows, func(d config.Description) bool { return !d.Secret })
	names := make([]string, len(secrets))
	for i, d := range secrets {
		names[i] = d.Name
	}
	want := []string{
		"SONICUS_DATABASE_URL", "SONICUS_DATABASE_DIRECT_URL", "SONICUS_ENCRYPTION_KEYS",
		"SONICUS_BOOTSTRAP_API_KEY", "SONICUS_JWT_SECRET", "SONICUS_EGRESS_PROXY_URL",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestTableShowsFilesAliasesAndBothDefaults(t *testing.T) {
	t.Parallel()
	table := config.MarkdownTable()
	for _, row := range []string{
		"| `SONICUS_DATABASE_URL`<br>`SONICUS_DATABASE_URL_FILE`<br>`DATABASE_URL` | – | both | ",
		"| `SONICUS_DATABASE_DIRECT_URL`<br>`SONICUS_DATABASE_DIRECT_URL_FILE` | `SONICUS_DATABASE_URL` | both | ",
		"| `SONICUS_ADMIN_ADDR` | `api 127.0.0.1:18101, dispatcher 127.0.0.1:18102` | both | ",
		"| `SONICUS_RETRY_JITTER` | `0.2` | dispatcher | ",
	} {
		if !strings.Contains(table, "\n"+row) {
			t.Errorf("no row begins %s\n%s", row, table)
		}
	}
}

func TestEffectiveSettingsTellWhereTheyCameFrom(t *testing.T) {
	t.Parallel()
	vars := minimal(
		"SONICUS_DATABASE_URL", "", "DATABASE_URL", databaseURL,
		"SONICUS_BOOTSTRAP_API_KEY_FILE", write(t, apiKey),
		"SONICUS_JWT_ALG", "HS256", "SONICUS_JWT_SECRET", apiKey,
		"SONICUS_EGRESS_ALLOW_PORTS", "5432,9200",
		"SONICUS_EGRESS_ADVERTISED_IPS", "198.51.100.7, 203.0.113.0/24,2001:db8::1",
	)
	rows := config.Effective(load(t, config.API, vars))
	want := []config.Setting{
		{"SONICUS_ENV", "production", "default"},
		{"SONICUS_DATABASE_URL", "postgres://db.example:5432/webhooks", "DATABASE_URL"},
		{"SONICUS_DATABASE_DIRECT_URL", "postgres://db.example:5432/webhooks", "default"},
		{"SONICUS_AUTO_MIGRATE", "true", "default"},
		{"SONICUS_HTTP_ADDR", "127.0.0.1:18100", "default"},
		{"SONICUS_ADMIN_ADDR", "127.0.0.1:18101", "default"},
		{"SONICUS_ENCRYPTION_KEYS", "k1:[redacted]", "SONICUS_ENCRYPTION_KEYS"},
		{"SONICUS_BOOTSTRAP_API_KEY", "[redacted]", "SONICUS_BOOTSTRAP_API_KEY_FILE"},
		{"SONICUS_JWT_ALG", "HS256", "SONICUS_JWT_ALG"},
		{"SONICUS_JWT_SECRET", "[redacted]", "SONICUS_JWT_SECRET"},
		{"SONICUS_JWT_JWKS_URL", "", "default"},
		{"SONICUS_JWT_ISSUER", "", "default"},
		{"SONICUS_JWT_AUDIENCE", "", "default"},
		{"SONICUS_JWT_ROLE_CLAIM", "role", "default"},
		{"SONICUS_API_RATE_LIMIT", "0", "default"},
		{"SONICUS_EGRESS_ALLOW_CIDRS", "", "default"},
		{"SONICUS_EGRESS_ALLOW_PORTS", "5432,9200", "SONICUS_EGRESS_ALLOW_PORTS"},
		{"SONICUS_EGRESS_PROXY_URL", "", "default"},
		{"SONICUS_EGRESS_CA_FILE", "", "default"},
		{"SONICUS_EGRESS_ADVERTISED_IPS", "198.51.100.7,203.0.113.0/24,2001:db8::1", "SONICUS_EGRESS_ADVERTISED_IPS"},
		{"SONICUS_SHUTDOWN_GRACE", "30s", "default"},
		{"SONICUS_LOG_LEVEL", "info", "default"},
		{"SONICUS_LOG_FORMAT", "json", "default"},
		{"SONICUS_LOG_FILE", "", "default"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEffectiveSettingsPrintAsTableAndJSON(t *testing.T) {
	t.Parallel()
	cfg := load(t, config.Dispatcher, minimal())
	var text, jsonText bytes.Buffer
	if err := config.WriteEffective(&text, cfg, false); err != nil {
		t.Fatal(err)
	}
	if err := config.WriteEffective(&jsonText, cfg, true); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(strings.Split(text.String(), "\n")[0]); !slices.Equal(got, []string{"SONICUS_ENV", "production", "default"}) {
		t.Errorf("first line: %v", got)
	}
	var rows []config.Setting
	if err := json.Unmarshal(jsonText.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Effective(cfg), rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoSecretIsEverPrinted(t *testing.T) {
	t.Parallel()
	for name, vars := range map[string]map[string]string{
		"valid": minimal("SONICUS_BOOTSTRAP_API_KEY", apiKey, "SONICUS_EGRESS_PROXY_URL", "http://user:proxy-canary@proxy:3128"),
		"with a password that breaks the URL": minimal(
			"SONICUS_DATABASE_URL", "postgres://sonic:12/hunter2-canary@db/webhooks",
			"SONICUS_DATABASE_DIRECT_URL", "postgres://sonic:hunter2-canary%zz@db/webhooks",
			"SONICUS_ENCRYPTION_KEYS", "k1:key-canary", "SONICUS_BOOTSTRAP_API_KEY", "short-canary",
		),
	} {
		for _, binary := range []config.Binary{config.API, config.Dispatcher} {
			t.Run(name+" "+string(binary), func(t *testing.T) {
				t.Parallel()
				checkNothingLeaks(t, binary, vars)
			})
		}
	}
}

func checkNothingLeaks(t *testing.T, binary config.Binary, vars map[string]string) {
	t.Helper()
	cfg, err := config.Load(func(n string) string { return vars[n] }, binary)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v\n%v\n%v\n", cfg, cfg, cfg, err, cfg.Warnings())
	slog.New(slog.NewJSONHandler(&out, nil)).Info("settings", "config", cfg, "error", err)
	if err := config.WriteEffective(&out, cfg, false); err != nil {
		t.Fatal(err)
	}
	for _, marker := range []string{"canary", "a2V5LWNhbmFyeS1"} {
		if strings.Contains(out.String(), marker) {
			t.Errorf("%s is in the output:\n%s", marker, out.String())
		}
	}
}
