package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/localpg"
)

// What a run makes carries its process id, so that a later run can tell what a
// killed one has left behind.
const (
	databasePrefix = "sonicus_demo_"
	logsPrefix     = "sonicus-demo-"
)

var pidInName = regexp.MustCompile(`^sonicus[-_]demo[-_](\d+)[-_]`)

// removeOrphans drops the databases and logs of runs that were killed. What it
// cannot remove is left for the next run.
func removeOrphans(ctx context.Context, server *localpg.Server) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), logsPrefix+"*")) // the pattern is well-formed
	for _, dir := range dirs {
		if orphaned(filepath.Base(dir)) {
			_ = os.RemoveAll(dir)
		}
	}
	db, err := postgres.Connect(ctx, server.URL("postgres"), postgres.Options{MaxOpen: 1})
	if err != nil {
		return
	}
	defer func() { _ = db.Close() }()
	var names []string
	if err := db.SelectContext(ctx, &names, `SELECT datname FROM pg_database WHERE starts_with(datname, $1)`, databasePrefix); err != nil {
		return
	}
	for _, name := range names {
		if orphaned(name) {
			_ = server.DropDatabase(ctx, name)
		}
	}
}

// orphaned says whether the process that made this is gone. A process of another
// user, or a later one with the same id, only keeps it for longer.
func orphaned(name string) bool {
	m := pidInName.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	pid, err := strconv.Atoi(m[1])
	return err == nil && syscall.Kill(pid, 0) == syscall.ESRCH
}
