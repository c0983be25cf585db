// Package localpg owns a private Postgres without ceremony, for the demo, for a developer's own runs and for tests.
//
// Start uses the server that SONICUS_DATABASE_URL (or DATABASE_URL) names. Without one it looks for server binaries
// (PATH, then the usual folders, newest first), installs them where there are none (apt-get as root, else npm), and
// starts one cluster per user and durability, which every process of that user shares.
//
// The server lives exactly as long as its users do. Each user holds the write end of a FIFO, the lifeline; a small
// shell process beside the server holds the read end and stops the server at end of file, so a user that is killed
// with SIGKILL lets go like any other. Servers for tests linger for two seconds, so that the packages of one
// "go test ./..." hand the server on to each other; durable and exclusive ones stop at once.
//
// The server listens on 127.0.0.1 alone, with a random password. Started by root, it runs as the user postgres, else
// nobody. Durable data survives between runs in the cache directory: SONICUS_CACHE_DIR, else /var/cache/sonicus-webhooks
// (or the same below /var/tmp) for root and the user's own cache directory for everybody else. Clusters for tests live
// in /dev/shm instead where that has room, unless SONICUS_CACHE_DIR is set.
//
// StartPooler puts a PgBouncer before a server, found on the machine or downloaded with apt-get.
package localpg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"
)

// startLimit bounds a start once the binaries are there: a cold one on a busy machine takes some seconds.
const startLimit = 90 * time.Second

// ErrNotOurs says that the server was not started by this package, or is shared with other processes, so that it may
// not be stopped or restarted.
var ErrNotOurs = errors.New("this Postgres is not exclusive to this process")

// Options says which kind of server is wanted. The zero value is the shared cluster for tests.
type Options struct {
	// Durable servers write through to the disk (fsync, synchronous_commit, full_page_writes), and their data is
	// recovered after a crash. The others trade that for speed; their data is thrown away after an unclean stop.
	Durable bool
	// Exclusive gives the caller a cluster of its own that may be stopped and restarted without hurting anybody.
	// Its commits survive a crash of the server (not of the machine, unless it is Durable too); its data is removed
	// by Close. SONICUS_DATABASE_URL is not used for it.
	Exclusive bool
	// Log receives plain progress lines for people, such as "starting Postgres 15". It may be nil.
	Log func(line string)
}

// Server is a running Postgres. Its methods may be called from several goroutines, except that Restart, Stop,
// StartAgain and Close must not run at the same time as each other.
type Server struct {
	maintenance *url.URL // a database that exists from the start, as a superuser (or as who SONICUS_DATABASE_URL says)
	cluster     *cluster // nil when the server is not ours
	users       *os.File // holds a shared lock for as long as this process uses the cluster
	lifeline    *os.File // nil while an exclusive server is stopped
}

// Start returns a running server that accepts connections. Call Close to let go of it; the end of the process does the
// same. It takes at most 90 seconds, and installing binaries at most five minutes more. Errors about the server
// end with the last lines of its log.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if raw := externalURL(os.Getenv); raw != "" && !o.Exclusive {
		return useExternal(ctx, raw)
	}
	as, err := serverUser()
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir(os.Getenv, as)
	if err != nil {
		return nil, err
	}
	bin, err := findOrInstall(ctx, defaultSearch(cache), as, o.Log)
	if err != nil {
		return nil, err
	}
	if as, err = serverUser(); err != nil { // an installation may have made the user postgres
		return nil, err
	}
	clusters := clusterDir(os.Getenv, cache, o.Durable, as)
	return startWith(ctx, o, template{cache: cache, clusters: clusters, bin: bin, as: as})
}

// startWith is Start once it is known where, what and as whom.
func startWith(ctx context.Context, o Options, base template) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if o.Exclusive {
		return startExclusive(ctx, o, base)
	}
	return startShared(ctx, o, base)
}

// URL returns the connection URL of a database on the server, password included: keep it out of logs.
func (s *Server) URL(database string) string {
	u := *s.maintenance
	u.Path = "/" + database
	return u.String()
}

// LogFile is where the server writes its log: lock waits over a second, deadlocks and every error, each line with the
// database's name. It is empty for a server that SONICUS_DATABASE_URL names.
func (s *Server) LogFile() string {
	if s.cluster == nil {
		return ""
	}
	return s.cluster.logFile()
}

// Close lets go of the server and may be called again. The last user's Close waits until a durable or exclusive server
// has stopped; a server for tests stops two seconds later by itself. An exclusive server's data is removed.
func (s *Server) Close() error {
	if s.cluster == nil || s.users == nil {
		return nil
	}
	// A deadline of its own: Close runs when everybody's context has already ended.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if s.cluster.exclusive {
		return s.closeExclusive(ctx)
	}
	return s.closeShared(ctx)
}

func (s *Server) closeShared(ctx context.Context) error {
	pid := s.cluster.postmaster()
	err := errors.Join(s.lifeline.Close(), unlock(s.users))
	s.lifeline, s.users = nil, nil
	if err != nil {
		return fmt.Errorf("let go of Postgres: %w", err)
	}
	if !s.cluster.durable || pid == 0 {
		return nil
	}
	return s.cluster.awaitStopUnlessUsed(ctx, pid)
}
