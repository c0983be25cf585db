package localpg

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestNamedServerIsUsedAndNotStopped(t *testing.T) {
	t.Parallel()
	own := start(t, newCache(t), Options{Exclusive: true})
	for _, variable := range []string{"SONICUS_DATABASE_URL", "DATABASE_URL"} {
		t.Run(variable, func(t *testing.T) {
			h := startHelper(t, "durable", newCache(t), func(cmd *exec.Cmd) {
				cmd.Env = append(cmd.Env, variable+"="+own.URL("postgres"))
			})
			if a := h.answer(t); a.URL != own.URL("postgres") || a.Data != "" {
				t.Errorf("used %q, want the named server", a.URL)
			}
			h.close(t)
			query[int](t, own.URL("postgres"), `SELECT 1`)
		})
	}
	s, err := useExternal(t.Context(), own.URL("postgres"))
	must(t, err)
	must(t, s.CreateDatabase(t.Context(), "made", ""))
	query[int](t, s.URL("made"), `SELECT 1`)
	must(t, s.DropDatabase(t.Context(), "made"))
	must(t, s.Close())
	query[int](t, own.URL("postgres"), `SELECT 1`)
}

func TestErrorsAboutANamedServerKeepItsPassword(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"postgres://me:hunter2@127.0.0.1:1/db?sslmode=disable",
		"postgres://me:hunter2@%zz/db", "mysql://me:hunter2@127.0.0.1/db", "host=127.0.0.1 password=hunter2",
	} {
		_, err := useExternal(t.Context(), raw)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "SONICUS_DATABASE_URL") {
			t.Errorf("got %v, want an error that names the setting and not the password", err)
		}
	}
}

// Root's server runs as somebody else; an ordinary user's runs as this user. Both are tried where the tests run as
// root; elsewhere every other test already is the ordinary case.
func TestOrdinaryUserHasACluster(t *testing.T) {
	t.Parallel()
	cache := emptyCache(t)
	change := func(*exec.Cmd) {}
	want := os.Geteuid()
	if want == 0 {
		nobody, ok := lookupUser("nobody")
		if !ok {
			t.Fatal("no user nobody")
		}
		change = asUser(t, nobody)
		must(t, os.Chown(cache, nobody.uid, nobody.gid))
		want = nobody.uid
	}
	h := startHelper(t, "durable", cache, change)
	a := h.answer(t)
	if a.Error != "" {
		t.Fatal(a.Error)
	}
	query[int](t, a.URL, `SELECT 1`)
	info, err := os.Stat(a.Data)
	must(t, err)
	if got := ownerOf(info); got != want {
		t.Errorf("the data belongs to user %d, want %d", got, want)
	}
	h.close(t)
	eventually(t, "server and watchdog end", func() bool { return len(processesOf(cache)) == 0 })
}

func TestCacheDirectoryOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	as, err := serverUser()
	must(t, err)
	foreign := "/" // for an ordinary user
	if as.drop {
		foreign = openDir(t)
		must(t, as.own(foreign))
	}
	if err := ownDir(foreign, as); err == nil {
		t.Error("accepted")
	}
	dir := t.TempDir()
	must(t, os.Symlink(dir, dir+"/link"))
	if err := ownDir(dir+"/link", as); err == nil {
		t.Error("followed a symlink that somebody may have laid")
	}
}

func TestUnreachableCacheDirectoryIsExplained(t *testing.T) {
	t.Parallel()
	as, err := serverUser()
	must(t, err)
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0)) // neither a user without rights nor root's server user can enter
	if !as.drop {
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	}
	_, err = chosenDir(dir, as)
	if err == nil || !strings.Contains(err.Error(), "SONICUS_CACHE_DIR") {
		t.Errorf("got %v, want an error that names the setting", err)
	}
}

func TestOnlyPassingDataGoesToTheRAMDisk(t *testing.T) {
	t.Parallel()
	as, err := serverUser()
	must(t, err)
	unset := func(string) string { return "" }
	for name, tt := range map[string]struct {
		getenv  func(string) string
		durable bool
	}{
		"Durable":        {unset, true},
		"ChosenByTheEnv": {func(string) string { return "/chosen" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := clusterDir(tt.getenv, "/cache", tt.durable, as); got != "/cache" {
				t.Errorf("got %s, want the cache directory", got)
			}
		})
	}
	want := "/cache"
	if hasRoom(ramDisk) {
		want = ramDisk
	}
	if got := clusterDir(unset, "/cache", false, as); !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want something in %s", got, want)
	}
}
