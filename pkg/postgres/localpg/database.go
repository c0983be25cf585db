package localpg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/lib/pq"
)

// minVersion is the oldest Postgres that is accepted: the oldest that its makers still support at the end of 2026, and
// that the service is tested with.
const minVersion = 15

// externalURL returns the server that the environment names, or "".
func externalURL(getenv func(string) string) string {
	if u := getenv("SONICUS_DATABASE_URL"); u != "" {
		return u
	}
	return getenv("DATABASE_URL")
}

// useExternal checks a server that somebody else runs; it is never started or stopped here. Errors leave the URL
// out, because it carries a password.
func useExternal(ctx context.Context, raw string) (*Server, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, errors.New("SONICUS_DATABASE_URL is not of the form postgres://user:password@host:port/database")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s := &Server{maintenance: u}
	var version int
	err = s.withMaintenance(func(db *sql.DB) error {
		return db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int / 10000`).Scan(&version)
	})
	if err != nil {
		return nil, fmt.Errorf("the Postgres that SONICUS_DATABASE_URL names does not answer: %w", err)
	}
	if version < minVersion {
		return nil, fmt.Errorf("the Postgres that SONICUS_DATABASE_URL names is version %d; %d or newer is needed", version, minVersion)
	}
	return s, nil
}

// CreateDatabase makes a database as a copy of a template, which nobody may be connected to; "" means Postgres' own
// default template.
func (s *Server) CreateDatabase(ctx context.Context, name, template string) error {
	statement := "CREATE DATABASE " + pq.QuoteIdentifier(name)
	if template != "" {
		statement += " TEMPLATE " + pq.QuoteIdentifier(template)
	}
	return s.exec(ctx, "create database "+name, statement)
}

// DropDatabase removes a database and the connections to it. One that does not exist is no error.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	return s.exec(ctx, "drop database "+name, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)")
}

func (s *Server) exec(ctx context.Context, what, statement string) error {
	err := s.withMaintenance(func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, statement)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// withMaintenance keeps no connection open between calls, and so leaves no goroutine behind.
func (s *Server) withMaintenance(use func(db *sql.DB) error) error {
	db, err := sql.Open("postgres", s.maintenance.String())
	if err != nil {
		return err
	}
	return errors.Join(use(db), db.Close())
}

// serves says whether the server at this address is the one on a data directory: the port may be somebody else's.
func (s *Server) serves(ctx context.Context, data string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var got string
	err := s.withMaintenance(func(db *sql.DB) error {
		return db.QueryRowContext(ctx, `SELECT current_setting('data_directory')`).Scan(&got)
	})
	if err == nil && got != data {
		return fmt.Errorf("another Postgres answers there, on %s", got)
	}
	return err
}
