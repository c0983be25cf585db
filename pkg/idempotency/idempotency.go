// Package idempotency owns the table idempotency_keys: it lets a request that is sent
// again with the same Idempotency-Key happen once, and answers it as the first time.
//
// The key's row is written in the transaction of the work itself, before anything
// else, so that a second request with the key waits for the first one's end; the
// answer is stored in it before the COMMIT. Both exist then, or neither. A request
// that fails leaves nothing behind, and may be repeated with its key. Within a
// process, requests with one key come one after another, see [Store.Begin].
//
// To cover a write, let it use [InTx] where it would use postgres.InTx, once per
// request, and let its function return what is answered with. In pkg/httpapi every
// POST has the key in its context already, and the handlers that taking, byID and
// changing make (all that end in perform) know how to show the result. A test there
// goes through the routes and sends the examples of the description twice: a POST that
// is not covered fails it, unless it is listed in notWriting.
//
// Answers hold secrets that are shown once, and so may requests. What is stored of
// both, the answer and the digest that tells requests apart, is therefore one sealed
// envelope. An encryption key can leave the configuration a day after its last use.
package idempotency

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/secret"
)

// Request is a request that may be sent again.
type Request struct {
	Caller string            // whose key it is: the same key of another caller is another key
	Key    string            // the caller's own name for the request
	Digest [sha256.Size]byte // of all that makes it another request: method, path, body
}

// Answer is what a request was answered with.
type Answer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"` // what belongs to this answer, such as Location
	Body   []byte            `json:"body"`
}

// Replayed is the error of work that is done already: answer with the first Answer.
type Replayed struct{ Answer Answer }

// Error says that this is no failure; callers see the answer.
func (*Replayed) Error() string { return "done before, under the same Idempotency-Key" }

// Store keeps the answers.
type Store struct {
	db    *sqlx.DB
	box   *secret.Box
	turns turns
}

// NewStore makes a store that seals answers with box.
func NewStore(db *sqlx.DB, box *secret.Box) *Store {
	return &Store{db: db, box: box, turns: turns{taken: map[turn]chan struct{}{}}}
}

// findTimeout bounds the look-up that comes before the work.
const findTimeout = 5 * time.Second

// Find looks for the first answer to a request, before the work begins: whether it
// would be accepted today does not matter any more. It is nil when there is none.
// Problems: Invalid (idempotency_key_reused) when the key has been used for another
// request; Conflict (answer_unreadable); Unavailable while the database is away.
func (s *Store) Find(ctx context.Context, r Request) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	found, err := read(ctx, s.db, r)
	if errors.Is(err, postgres.ErrNotFound) {
		return nil, nil //nolint:nilnil // none is the usual case, and no error
	}
	if err != nil {
		return nil, fmt.Errorf("find answer: %w", postgres.Explain(err, ""))
	}
	return s.open(r, found)
}

// attempt is one time that a request is made.
type attempt struct {
	*Store
	Request
	render func(any) (Answer, error) // nil: nobody has said how
}

type attemptKey struct{}

// With returns a context whose work, by [InTx], happens once for this request.
func (s *Store) With(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, attemptKey{}, &attempt{Store: s, Request: r})
}

// Rendering returns a context that knows how the result of [InTx], a T, is answered.
func Rendering[T any](ctx context.Context, render func(T) (Answer, error)) context.Context {
	a, keyed := ctx.Value(attemptKey{}).(*attempt)
	if !keyed {
		return ctx
	}
	knowing := *a
	knowing.render = func(made any) (Answer, error) {
		t, ok := made.(T)
		if !ok {
			return Answer{}, fmt.Errorf("the answer is made of a %T, not of a %T", t, made)
		}
		return render(t)
	}
	return context.WithValue(ctx, attemptKey{}, &knowing)
}
