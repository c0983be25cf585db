package idempotency

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
)

// column is part of what an envelope is sealed to.
const column = "answer"

// row is what the table holds of a key.
type row struct {
	ID     uuid.UUID `db:"id"`
	Answer *string   `db:"answer"` // nil: not yet
}

// sealed is what is in the envelope.
type sealed struct {
	Digest []byte `json:"digest"`
	Answer
}

func read(ctx context.Context, from sqlx.QueryerContext, r Request) (row, error) {
	var found row
	err := sqlx.GetContext(ctx, from, &found, `SELECT id, answer FROM sonicus.idempotency_keys WHERE caller = $1 AND key = $2`, r.Caller, r.Key)
	return found, err
}

// keep stores the answer, before the work is committed.
func (a *attempt) keep(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, made any) error {
	if a.render == nil {
		return fmt.Errorf("nobody has said how a %T is answered", made)
	}
	answer, err := a.render(made)
	if err != nil {
		return fmt.Errorf("render answer: %w", err)
	}
	plain, err := json.Marshal(sealed{a.Digest[:], answer})
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	envelope, err := a.box.Seal(plain, secret.AAD(id, column))
	if err != nil {
		return fmt.Errorf("seal answer: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE sonicus.idempotency_keys SET answer = $3 WHERE caller = $1 AND key = $2`, a.Caller, a.Key, envelope); err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	return nil
}

// open returns the answer that was kept, if it was to this request.
func (s *Store) open(r Request, stored row) (*Answer, error) {
	if stored.Answer == nil {
		return nil, inProgress(errors.New("the key has no answer"))
	}
	var found sealed
	plain, err := s.box.Open(*stored.Answer, secret.AAD(stored.ID, column))
	if err == nil {
		err = json.Unmarshal(plain, &found)
	}
	if err != nil {
		p := problem.Conflict("answer_unreadable", "",
			"This was done before, under the same Idempotency-Key, but the answer of then cannot be decrypted any more. Look at what there is now.")
		p.Err = err
		return nil, p
	}
	if !bytes.Equal(found.Digest, r.Digest[:]) {
		return nil, problem.Invalid(problem.Field{
			Field: "Idempotency-Key", Code: "idempotency_key_reused", Detail: "was used for another request: give each a key of its own",
		})
	}
	return &found.Answer, nil
}
