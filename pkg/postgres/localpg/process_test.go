package localpg

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}

func TestStalePostmasterPIDDoesNotBlock(t *testing.T) {
	t.Parallel()
	stale := map[string]func(*testing.T) int{
		"Dead":        deadProcess,
		"SomeoneElse": func(*testing.T) int { return os.Getpid() },
		"Zombie":      zombieProcess,
	}
	for name, pid := range stale {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache := newCache(t)
			s := start(t, cache, Options{Durable: true})
			must(t, s.CreateDatabase(t.Context(), "kept", ""))
			path := filepath.Join(s.cluster.data(), "postmaster.pid")
			content, err := os.ReadFile(path)
			must(t, err)
			must(t, s.Close())
			_, rest, _ := strings.Cut(string(content), "\n")
			must(t, os.WriteFile(path, []byte(strconv.Itoa(pid(t))+"\n"+rest), 0o600))
			must(t, s.cluster.as.own(path))
			again := start(t, cache, Options{Durable: true})
			query[int](t, again.URL("kept"), `SELECT 1`)
		})
	}
	t.Run("Torn", func(t *testing.T) {
		t.Parallel()
		cache := newCache(t)
		s := start(t, cache, Options{Durable: true})
		must(t, s.Close())
		path := filepath.Join(s.cluster.data(), "postmaster.pid")
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, s.cluster.as.own(path))
		start(t, cache, Options{Durable: true})
	})
}

func deadProcess(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	must(t, cmd.Run())
	return cmd.Process.Pid
}

// zombieProcess is a process that has ended and is not waited for until the test ends.
func zombieProcess(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() })
	eventually(t, "the process is a zombie", func() bool {
		out, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(cmd.Process.Pid)).Output()
		return strings.HasPrefix(string(out), "Z")
	})
	return cmd.Process.Pid
}

func TestZombiePostmasterIsDead(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	must(t, os.WriteFile(filepath.Join(data, "postmaster.pid"), []byte(strconv.Itoa(zombieProcess(t))+"\n"), 0o600))
	if pid := postmasterOf(data); pid != 0 {
		t.Errorf("zombie %d read as a running server", pid)
	}
}
