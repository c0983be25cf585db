package localpg

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFourStartersAtOnceShareOneCluster(t *testing.T) {
	t.Parallel()
	cache := emptyCache(t) // they also have to agree on who initialises
	var helpers []*helper
	for range 4 {
		helpers = append(helpers, startHelper(t, "test", cache))
	}
	urls := map[string]int{}
	started := 0
	for _, h := range helpers {
		a := h.answer(t)
		urls[a.URL]++
		if slices.ContainsFunc(a.Log, func(l string) bool { return strings.HasPrefix(l, "starting Postgres") }) {
			started++
		}
	}
	if len(urls) != 1 || started != 1 {
		t.Errorf("%d servers, started by %d processes; want 1 and 1", len(urls), started)
	}
	for url := range urls {
		query[int](t, url, `SELECT 1`)
	}
	for i, h := range helpers {
		if i%2 == 0 {
			h.close(t)
		} else {
			h.kill()
		}
	}
	eventually(t, "the server stops after its last user", func() bool { return len(processesOf(cache)) == 0 })
}

func TestWarmStartReusesTheCluster(t *testing.T) {
	t.Parallel()
	for name, durable := range map[string]bool{"Durable": true, "ForTests": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache := newCache(t)
			first := start(t, cache, Options{Durable: durable})
			must(t, first.CreateDatabase(t.Context(), "kept", ""))
			joined := start(t, cache, Options{Durable: durable})
			if joined.URL("kept") != first.URL("kept") {
				t.Error("the second start did not join the running server")
			}
			must(t, joined.Close())
			query[int](t, first.URL("kept"), `SELECT 1`) // one user left: still there
			must(t, first.Close())
			eventually(t, "the server stops", func() bool { return len(processesOf(cache)) == 0 })
			var log []string
			again := start(t, cache, Options{Durable: durable, Log: func(l string) { log = append(log, l) }})
			query[int](t, again.URL("kept"), `SELECT 1`)
			if len(log) != 1 {
				t.Errorf("a warm start did more than start: %q", log)
			}
		})
	}
}

// Ctrl-C reaches a whole process group, and "go test" waits until nobody holds its output any more.
func TestServerIsDetachedFromItsStarter(t *testing.T) {
	t.Parallel()
	cache := newCache(t)
	h := startHelper(t, "test", cache)
	h.answer(t)
	s := start(t, cache, Options{})
	pid := s.cluster.postmaster()
	group, err := unix.Getpgid(pid)
	must(t, err)
	own, err := unix.Getpgid(h.cmd.Process.Pid)
	must(t, err)
	if group == own {
		t.Error("the server is in the process group of its starter")
	}
	must(t, h.cmd.Process.Kill())
	_, err = io.ReadAll(h.out) // blocks for as long as the server has the pipe
	must(t, err)
	if s.cluster.postmaster() != pid {
		t.Error("the server did not stay for its other user")
	}
}

func TestStrictUmaskIsNoObstacle(t *testing.T) {
	t.Parallel()
	h := startHelper(t, "durable", emptyCache(t), func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `umask 077; exec "$0"`, cmd.Path}
	})
	if a := h.answer(t); a.Error != "" {
		t.Error(a.Error)
	}
	h.close(t)
}

func TestCloseOfTheLastUserWaitsForADurableServerToStop(t *testing.T) {
	t.Parallel()
	s := start(t, newCache(t), Options{Durable: true})
	must(t, s.Close())
	if pid := s.cluster.postmaster(); pid != 0 {
		t.Errorf("process %d still serves after Close", pid)
	}
	must(t, s.Close()) // twice is no harm
}

func TestKilledParentLeavesNoServer(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"test", "durable", "exclusive"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cache := newCache(t)
			h := startHelper(t, kind, cache)
			a := h.answer(t)
			if a.Error != "" || len(processesOf(cache)) == 0 {
				t.Fatalf("no server: %s", a.Error)
			}
			h.kill()
			eventually(t, "server and watchdog end", func() bool { return len(processesOf(cache)) == 0 })
		})
	}
}

// A user who comes while the watchdog counts down, or at the very moment when it stops the server, gets a server.
func TestStartersAreServedWhileTheLastUserLeaves(t *testing.T) {
	t.Parallel()
	cache := newCache(t)
	for range 15 {
		s, err := tryStart(t, cache, Options{Durable: true}) // durable: no linger, so every turn meets a stop
		must(t, err)
		must(t, s.lifeline.Close()) // as if killed: nobody waits for the stop
		must(t, s.users.Close())
		next, err := tryStart(t, cache, Options{Durable: true})
		must(t, err)
		query[int](t, next.URL("postgres"), `SELECT 1`)
		must(t, next.lifeline.Close())
		must(t, next.users.Close())
	}
}

func TestKilledServerIsStartedAgain(t *testing.T) {
	t.Parallel()
	for name, durable := range map[string]bool{"Durable": true, "ForTests": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache := newCache(t)
			old := start(t, cache, Options{Durable: durable})
			must(t, unix.Kill(old.cluster.postmaster(), unix.SIGKILL))
			again := start(t, cache, Options{Durable: durable})
			query[int](t, again.URL("postgres"), `SELECT 1`)
		})
	}
}

func TestServerWithoutWatchdogIsReplaced(t *testing.T) {
	t.Parallel()
	cache := newCache(t)
	old := start(t, cache, Options{Durable: true})
	pid := old.cluster.postmaster()
	killWatchdog(t, cache)
	again := start(t, cache, Options{Durable: true})
	if again.cluster.postmaster() == pid {
		t.Error("joined a server that nobody would stop")
	}
	query[int](t, again.URL("postgres"), `SELECT 1`)
}

func TestCloseStopsAServerWithoutWatchdog(t *testing.T) {
	t.Parallel()
	cache := newCache(t)
	s := start(t, cache, Options{Durable: true})
	killWatchdog(t, cache)
	must(t, s.Close())
	if pid := s.cluster.postmaster(); pid != 0 {
		t.Errorf("process %d still serves after Close", pid)
	}
}

func killWatchdog(t *testing.T, cache string) {
	t.Helper()
	eventually(t, "the watchdog is dead", func() bool {
		alive := false
		for _, line := range processesOf(cache) {
			if strings.Contains(line, "watchdog.sh") {
				alive = true
				_ = unix.Kill(atoi(t, strings.Fields(line)[0]), unix.SIGKILL)
			}
		}
		return !alive
	})
}

func TestBrokenDataIsReplaced(t *testing.T) {
	t.Parallel()
	breakages := map[string]func(data string) error{
		"HalfInitialised": func(data string) error { return os.Remove(filepath.Join(data, "PG_VERSION")) },
		"ControlFileCut":  func(data string) error { return os.Truncate(filepath.Join(data, "global", "pg_control"), 100) },
		"WALGone":         func(data string) error { return os.RemoveAll(filepath.Join(data, "pg_wal")) },
	}
	cache := newCache(t)
	for name, damage := range breakages {
		t.Run(name, func(t *testing.T) {
			s := start(t, cache, Options{Durable: true})
			must(t, s.Close())
			broken := s.cluster.data() + ".broken"
			must(t, errors.Join(os.RemoveAll(broken), damage(s.cluster.data())))
			again := start(t, cache, Options{Durable: true})
			query[int](t, again.URL("postgres"), `SELECT 1`)
			if _, err := os.Stat(broken); err != nil {
				t.Errorf("durable data was thrown away: %v", err)
			}
		})
	}
}

func TestTakenPortIsRecognised(t *testing.T) {
	t.Parallel()
	cache := newCache(t)
	s := start(t, cache, Options{Exclusive: true})
	other := start(t, cache, Options{Exclusive: true})
	port, err := portOf(other.maintenance)
	must(t, err)
	must(t, s.Stop(t.Context()))
	must(t, forgetPostmaster(s.cluster.data()))
	_, err = s.cluster.attempt(t.Context(), port)
	if err == nil || !strings.Contains(err.Error(), errPortTaken.Error()) || !strings.Contains(err.Error(), "TCP/IP") {
		t.Errorf("got %v, want %v with the log's last lines", err, errPortTaken)
	}
}
