package localpg

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestExclusiveServerSurvivesACrash(t *testing.T) {
	t.Parallel()
	cache := newCache(t)
	s := start(t, cache, Options{Exclusive: true})
	neighbour := start(t, cache, Options{Exclusive: true})
	url := s.URL("postgres")
	run(t, url, `CREATE TABLE kept AS SELECT 1 AS n`)
	pid := s.cluster.postmaster()
	must(t, s.Restart(t.Context()))
	if s.URL("postgres") != url || s.cluster.postmaster() == pid {
		t.Error("restarted on another address, or not at all")
	}
	query[int](t, url, `SELECT n FROM kept`) // committed before the crash
	query[int](t, neighbour.URL("postgres"), `SELECT 1`)
	must(t, s.Stop(t.Context()))
	must(t, s.Stop(t.Context())) // twice is no harm
	if _, err := tryQuery[int](t, url, `SELECT 1`); err == nil {
		t.Error("answers after Stop")
	}
	must(t, s.StartAgain(t.Context()))
	query[int](t, url, `SELECT n FROM kept`)
	must(t, s.Close())
	if _, err := os.Stat(s.cluster.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is still there: %v", err)
	}
}

func TestSharedServerRefusesToRestart(t *testing.T) {
	t.Parallel()
	s := start(t, newCache(t), Options{})
	if err := s.Restart(t.Context()); !errors.Is(err, ErrNotOurs) {
		t.Errorf("got %v, want %v", err, ErrNotOurs)
	}
	query[int](t, s.URL("postgres"), `SELECT 1`)
}

func TestDirectoryOfAKilledOwnerIsRemoved(t *testing.T) {
	t.Parallel()
	cache := newCache(t)
	h := startHelper(t, "exclusive", cache)
	left := filepath.Dir(h.answer(t).Data)
	h.kill()
	eventually(t, "its server stops", func() bool { return len(processesOf(left)) == 0 })
	start(t, cache, Options{Exclusive: true})
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of a killed owner is still there: %v", err)
	}
}
