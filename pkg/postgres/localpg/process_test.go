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
	cache := newCache(t)
	s := start(t, cache, Options{Durable: true})
	run(t, s.URL("postgres"), `CREATE TABLE kept AS SELECT 1 AS n`)
	path := filepath.Join(s.cluster.data(), "postmaster.pid")
	content, err := os.ReadFile(path)
	must(t, err)
	must(t, s.Close())
	_, rest, _ := strings.Cut(string(content), "\n")
	stale := map[string]func(*testing.T) string{
		"Dead":        func(t *testing.T) string { return strconv.Itoa(deadProcess(t)) + "\n" + rest },
		"SomeoneElse": func(*testing.T) string { return strconv.Itoa(os.Getpid()) + "\n" + rest },
		"Zombie":      func(t *testing.T) string { return strconv.Itoa(zombieProcess(t)) + "\n" + rest },
		"Torn":        func(*testing.T) string { return "" },
	}
	for name, content := range stale {
		t.Run(name, func(t *testing.T) { // one after the other on the same data
			must(t, os.WriteFile(path, []byte(content(t)), 0o600))
			must(t, s.cluster.as.own(path))
			again := start(t, cache, Options{Durable: true})
			query[int](t, again.URL("postgres"), `SELECT n FROM kept`)
		})
	}
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
