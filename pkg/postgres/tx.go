package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// ErrCommitUnknown: the connection broke while COMMIT was on its way. The
// transaction has happened or it has not; only a look at its rows can tell.
var ErrCommitUnknown = errors.New("commit outcome unknown")

// statementTimeout bounds every statement of a transaction, but never its
// COMMIT: with a deadline on COMMIT, rows that had been acknowledged were lost
// in a failover (38 of 7,651 in one measured run).
const statementTimeout = 15 * time.Second

// idleTimeout is how long a transaction may lie there with nothing asked of it. A
// process that is frozen inside of one, or a host that is lost, would otherwise keep
// its locks, and with them everyone else, for hours.
const idleTimeout = 10 * time.Second

// maxDead is more than any pool of the service can hold.
const maxDead = 50

// InTx runs fn in one transaction and commits when fn returns nil. now is the
// transaction's time by the database's clock, in UTC: use it instead of the
// host's for everything that is stored.
//
// ctx bounds the wait for a connection and, as far as fn passes it on, the
// statements. A commit that may or may not have happened is [ErrCommitUnknown].
func InTx(ctx context.Context, db *sqlx.DB, fn func(tx *sqlx.Tx, now time.Time) error) error {
	conn, tx, now, err := begin(ctx, db)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = conn.Close() }()  // back to the pool; says nothing of the transaction
	defer func() { _ = tx.Rollback() }() // after COMMIT it does nothing; after a failure its own error is noise
	if err = fn(tx, now); err == nil {
		if err = ctx.Err(); err == nil {
			err = commit(tx)
		}
	}
	if onReplica(err) {
		_ = tx.Rollback()
		discard(conn)
	}
	return err
}

// begin opens a transaction. Connections that have died in the pool, as all do
// when the server restarts, are thrown away until one answers or a new one
// cannot be made: nothing has been done yet, so trying again is safe.
func begin(ctx context.Context, db *sqlx.DB) (*sqlx.Conn, *sqlx.Tx, time.Time, error) {
	for tries := 1; ; tries++ {
		conn, err := db.Connx(ctx)
		if err != nil {
			return nil, nil, time.Time{}, err
		}
		tx, now, err := beginOn(ctx, conn)
		if err == nil {
			return conn, tx, now, nil
		}
		discard(conn)
		_ = conn.Close()
		if ctx.Err() != nil || !diedInPool(err) || tries > maxDead {
			return nil, nil, time.Time{}, err
		}
	}
}

func beginOn(ctx context.Context, conn *sqlx.Conn) (*sqlx.Tx, time.Time, error) {
	tx, err := conn.BeginTxx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return nil, time.Time{}, err
	}
	var now time.Time
	if err := tx.QueryRowxContext(ctx, `SELECT now() FROM set_config('statement_timeout', $1, true) a, set_config('idle_in_transaction_session_timeout', $2, true) b`,
		milliseconds(statementTimeout), milliseconds(idleTimeout)).Scan(&now); err != nil {
		_ = tx.Rollback()
		return nil, time.Time{}, err
	}
	return tx, now.UTC(), nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// commit separates a refusal, after which nothing has happened, from silence.
func commit(tx *sqlx.Tx) error {
	err := tx.Commit()
	if err == nil {
		return nil
	}
	refused, ok := errors.AsType[*pq.Error](err)
	if ok && refused.Code.Class() != "57" && refused.Code.Class() != "08" {
		return fmt.Errorf("commit: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrCommitUnknown, err)
}

// discard drops a connection to a server that has become a standby: the pool
// would otherwise hand it out for as long as it lives.
func discard(conn *sqlx.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}
