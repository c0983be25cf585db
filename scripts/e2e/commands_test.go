package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// empty makes a service on a database without tables.
func empty(t *testing.T, s settings) *service {
	t.Helper()
	svc := prepare(t, pgtest.NewURL(t), s)
	for {
		undone, err := postgres.MigrateDown(t.Context(), svc.url)
		if err != nil {
			t.Fatal(err)
		}
		if undone == "" {
			return svc
		}
	}
}

func TestTablesAppearOnTheFirstStart(t *testing.T) {
	t.Parallel()
	svc := empty(t, quick(nil))
	d := svc.process("dispatcher")
	if missing := d.field("waiting for the schema", "missing"); !strings.Contains(missing, "00005_views.sql") {
		t.Errorf("the dispatcher waits for %q, want it to name what is missing", missing)
	}
	if status := ready(t, "http://"+d.field("dispatcher started", "admin_address")); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d before the tables are there", status)
	}
	svc.startAPI()
	d.field("dispatcher ready", "msg")
	r := newReceiver(t, nil)
	svc.endpoint(r.URL, nil)
	svc.organization("first.example")
	r.await(1)[0].verify(t)
}

// migrations is how many there are.
func migrations(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("../../db/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations found: %v", err)
	}
	return len(files)
}

func TestTwoAPIsStartingAtOnceMigrateOnce(t *testing.T) {
	t.Parallel()
	svc := empty(t, nil)
	one, two := svc.process("api"), svc.process("api")
	one.field("api ready", "address")
	two.field("api ready", "address")
	if n := len(one.records("migration applied")) + len(two.records("migration applied")); n != migrations(t) {
		t.Errorf("%d migrations were applied, want each of the %d once", n, migrations(t))
	}
}

func TestPendingMigrationsAreRefusedWhenTheOperatorMigrates(t *testing.T) {
	t.Parallel()
	svc := empty(t, settings{"SONICUS_AUTO_MIGRATE": "false"})
	if code, _, stderr := svc.run("api"); code != 1 || !strings.Contains(stderr, "api migrate up") {
		t.Errorf("exit code %d, %q; want 1 and what to do", code, stderr)
	}
	if _, err := svc.db.Exec(`DROP SCHEMA sonicus CASCADE`); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := svc.run("api", "migrate", "status"); code != 1 || strings.Count(stdout, "pending") != migrations(t) {
		t.Errorf("status: exit code %d, %q", code, stdout)
	}
	if n := svc.count(`pg_namespace WHERE nspname = 'sonicus'`); n != 0 {
		t.Error("asking for the status has made a schema")
	}
	for program, args := range map[string][]string{"api": {"key", "create", "--role", "admin", "--name", "x"}, "dispatcher": {"verify"}} {
		if code, _, stderr := svc.run(program, args...); code != 1 || !strings.Contains(stderr, "api migrate up") {
			t.Errorf("%s %v without tables: exit code %d, %q", program, args, code, stderr)
		}
	}
	if code, _, stderr := svc.run("api", "migrate", "up"); code != 0 {
		t.Errorf("up: exit code %d, %q", code, stderr)
	}
	if code, stdout, _ := svc.run("api", "migrate", "status"); code != 0 || strings.Count(stdout, "applied") != migrations(t) {
		t.Errorf("status: exit code %d, %q", code, stdout)
	}
	svc.startAPI()
	if code, stdout, _ := svc.run("api", "migrate", "down"); code != 0 || !strings.Contains(stdout, "taken back: 000") {
		t.Errorf("down: exit code %d, %q", code, stdout)
	}
}

func TestCreatedKeyOpensTheAPI(t *testing.T) {
	t.Parallel()
	svc := start(t, nil)
	for role, want := range map[string]int{"super_admin": http.StatusCreated, "admin": http.StatusForbidden} {
		code, stdout, stderr := svc.run("api", "key", "create", "--role", role, "--name", "e2e "+role, "--expires", "1h")
		if code != 0 || strings.Count(stdout, "\n") != 1 {
			t.Fatalf("exit code %d, stdout %q, stderr %q; want the key alone", code, stdout, stderr)
		}
		svc.token = strings.TrimSpace(stdout)
		if n := svc.count(`sonicus.api_keys k WHERE k::text LIKE '%' || $1 || '%'`, svc.token); n != 0 {
			t.Error("the key is stored in the clear")
		}
		status, answer, err := svc.call(http.MethodPost, "/api/v1/super-admin/organizations", newOrganization(strings.ReplaceAll(role, "_", "")+".example"))
		if err != nil || status != want {
			t.Errorf("%s: %d %v %v, want %d", role, status, answer, err, want)
		}
	}
}

func TestVerifyFindsABrokenBook(t *testing.T) {
	t.Parallel()
	svc := start(t, nil)
	svc.endpoint("http://127.0.0.1:9999/", nil)
	svc.organization("verify.example")
	all := len(outbox.Invariants())
	if code, stdout, _ := svc.run("dispatcher", "verify"); code != 0 || !strings.Contains(stdout, fmt.Sprintf("%d of %d invariants hold", all, all)) {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	if _, err := svc.db.Exec(`DELETE FROM sonicus.queue`); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := svc.run("dispatcher", "verify", "--json"); code != 1 || !strings.Contains(stdout, `"ok":false`) || !strings.Contains(stdout, `"count":1`) {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

func TestWrongUsageAndWrongSettingsSayWhatToDo(t *testing.T) {
	t.Parallel()
	svc := prepare(t, pgtest.NewURL(t), settings{"SONICUS_ENCRYPTION_KEYS": ""})
	for _, c := range []struct {
		program string
		args    []string
		code    int
		says    string
	}{
		{"api", []string{"fly"}, 2, "usage: api"},
		{"api", []string{"migrate"}, 2, "migrate up"},
		{"api", []string{"migrate", "sideways"}, 2, "usage: api"},
		{"api", []string{"key", "create", "--role", "king", "--name", "x"}, 2, "role"},
		{"api", []string{"key", "create", "--role", "viewer", "--name", "Command Line"}, 2, "name"},
		{"api", []string{"key", "create", "--colour", "red"}, 2, "usage: api"},
		{"api", []string{"serve", "now"}, 2, "usage: api"},
		{"api", nil, 1, "SONICUS_ENCRYPTION_KEYS"},
		{"api", []string{"healthcheck"}, 1, "probe"},
		{"dispatcher", []string{"fly"}, 2, "usage: dispatcher"},
		{"dispatcher", []string{"verify", "--xml"}, 2, "usage: dispatcher"},
		{"dispatcher", nil, 1, "openssl rand -base64 32"},
	} {
		if code, _, stderr := svc.run(c.program, c.args...); code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%s %v: exit code %d, %q; want %d and %q", c.program, c.args, code, stderr, c.code, c.says)
		}
	}
	for _, program := range []string{"api", "dispatcher"} {
		if code, stdout, _ := svc.run(program, "--help"); code != 0 || !strings.Contains(stdout, "usage: "+program) {
			t.Errorf("%s --help: exit code %d, %q", program, code, stdout)
		}
		if code, stdout, _ := svc.run(program, "config"); code != 1 || !strings.Contains(stdout, "SONICUS_SHUTDOWN_GRACE") {
			t.Errorf("%s config, with a setting missing: exit code %d, %q", program, code, stdout)
		}
		if code, stdout, _ := svc.run(program, "version"); code != 0 || strings.TrimSpace(stdout) == "" {
			t.Errorf("%s version: exit code %d, %q", program, code, stdout)
		}
	}
}

func TestWrongEncryptionKeyIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	svc := start(t, nil)
	svc.endpoint("http://127.0.0.1:9999/", nil)
	wrong := prepare(t, svc.url, settings{"SONICUS_ENCRYPTION_KEYS": "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="})
	for _, program := range []string{"api", "dispatcher"} {
		if code, _, stderr := wrong.run(program); code != 1 || !strings.Contains(stderr, "encryption keys") || strings.Contains(stderr, "AAAA") {
			t.Errorf("%s: exit code %d, %q; want 1 and a reason without the key", program, code, stderr)
		}
	}
}

func TestHealthcheckAsksTheRunningProgram(t *testing.T) {
	t.Parallel()
	svc := start(t, nil)
	svc.env = append(svc.env, "SONICUS_ADMIN_ADDR="+svc.api.field("api ready", "admin_address"))
	if code, _, stderr := svc.run("api", "healthcheck"); code != 0 {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if status := ready(t, "http://"+svc.api.field("api ready", "admin_address")); status != http.StatusOK {
		t.Errorf("/readyz answers %d", status)
	}
	svc.api.signal(syscall.SIGTERM)
	if code := svc.api.exitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	if code, _, _ := svc.run("api", "healthcheck"); code != 1 {
		t.Errorf("healthcheck of a stopped api: exit code %d, want 1", code)
	}
}

func TestProfilesAreServedInDevelopmentOnly(t *testing.T) {
	t.Parallel()
	for environment, want := range map[string]int{"production": http.StatusNotFound, "development": http.StatusOK} {
		svc := start(t, settings{"SONICUS_ENV": environment})
		for program, admin := range map[string]string{
			"api": svc.api.field("api ready", "admin_address"), "dispatcher": svc.dispatcher().field("dispatcher started", "admin_address"),
		} {
			res, err := http.Get("http://" + admin + "/debug/pprof/heap")
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("%s in %s: %d, want %d", program, environment, res.StatusCode, want)
			}
		}
	}
}

func TestAPIWaitsForAPostgresThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	if err := server.CreateDatabase(t.Context(), "later", ""); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	svc := prepare(t, server.URL("later"), nil)
	api := svc.process("api")
	api.field("waiting for the database", "error")
	if err := server.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	api.field("api ready", "address")
}
