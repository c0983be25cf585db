package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/lib/pq"
)

// ErrNotFound: the row that was asked for does not exist.
var ErrNotFound = sql.ErrNoRows

// Violates says whether err is the refusal of a row by the named constraint or
// unique index.
func Violates(err error, constraint string) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && e.Code.Class() == "23" && e.Constraint == constraint
}

// MissingPartition says whether err is the refusal of a row whose day has no
// partition yet.
func MissingPartition(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && e.Code == "23514" && e.Constraint == ""
}

// LockTimeout says whether err is the end of a wait for a lock that lock_timeout, or
// NOWAIT, has ended.
func LockTimeout(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && e.Code == "55P03"
}

// StatementTimeout says whether err is the end of a statement that took longer than
// statement_timeout lets it.
func StatementTimeout(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && e.Code == "57014"
}

// Unavailable says whether err comes from the state of the server or the way to
// it, and not from what was asked: the same call may succeed later, unchanged.
func Unavailable(err error) bool {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		return unavailableClass[string(e.Code.Class())] || e.Code == idleTooLong || onReplica(err)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, ErrCommitUnknown) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// diedInPool says whether err comes from a connection that was lost before it
// was used. A server that is silent, or says why it cannot serve, is another matter.
func diedInPool(err error) bool {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		return e.Code == "57P01" || e.Code == "57P02" // said while the connection was idle
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return false
	}
	return Unavailable(err)
}

// unavailableClass holds the SQLSTATE classes (Appendix A of the Postgres
// manual) that tell of the server and not of the statement.
var unavailableClass = map[string]bool{
	"08": true, // connection exception
	"40": true, // deadlock, serialization failure
	"53": true, // out of connections, memory or disk
	"55": true, // lock not available
	"57": true, // shutting down, starting up, statement timeout
	"58": true, // system error
	"F0": true, // configuration file error
}

// idleTooLong: the server has ended a transaction in which this process did nothing
// for too long. Class 25 tells otherwise of mistakes.
const idleTooLong = "25P03"

// onReplica: the server has become, or always was, a read-only standby.
func onReplica(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && e.Code == "25006"
}
