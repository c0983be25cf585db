package outbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/postgres"
)

// FailingClause names the first of the clauses of a filter, given by their SQL/JSON
// paths, that a payload does not meet, by the function that publishing asks too; ""
// when it meets them all.
func FailingClause(ctx context.Context, db *sqlx.DB, paths, clauses pq.StringArray, payload postgres.JSON) (string, error) {
	var clause *string
	err := db.GetContext(ctx, &clause, `SELECT sonicus.failing_clause($1::text[]::jsonpath[], $2, sonicus.document($3))`, paths, clauses, payload)
	if err != nil {
		return "", fmt.Errorf("evaluate filter: %w", err)
	}
	if clause == nil {
		return "", nil
	}
	return *clause, nil
}

// Payload returns what is sent of an event, byte for byte, or postgres.ErrNotFound.
func Payload(ctx context.Context, db *sqlx.DB, event uuid.UUID) (payload postgres.JSON, err error) {
	if err := db.GetContext(ctx, &payload, `SELECT payload FROM sonicus.events WHERE id = $1`, event); err != nil {
		return "", fmt.Errorf("read payload: %w", err)
	}
	return payload, nil
}
