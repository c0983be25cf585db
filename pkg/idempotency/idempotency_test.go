package idempotency_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
)

// fixture is a store, and work that can be counted.
type fixture struct {
	*idempotency.Store
	db *sqlx.DB
}

func setUp(t *testing.T, db *sqlx.DB) *fixture {
	t.Helper()
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS done (what text)`); err != nil {
		t.Fatal(err)
	}
	return &fixture{idempotency.NewStore(db, box(t, 7)), db}
}

func box(t *testing.T, key byte) *secret.Box {
	t.Helper()
	b, err := secret.NewBox([]secret.Key{{ID: "test", Bytes: bytes.Repeat([]byte{key}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func request(body string) idempotency.Request {
	return idempotency.Request{Caller: "name:ada", Key: "k", Digest: sha256.Sum256([]byte(body))}
}

// do is one request for work, which is answered with what was done.
func (f *fixture) do(ctx context.Context, what string) (string, error) {
	return f.doFor(f.With(ctx, request(what)), what)
}

func (f *fixture) doFor(ctx context.Context, what string) (string, error) {
	ctx = idempotency.Rendering(ctx, func(done string) (idempotency.Answer, error) {
		return idempotency.Answer{Status: 201, Header: map[string]string{"Location": "/" + done}, Body: []byte(done + "\n")}, nil
	})
	return idempotency.InTx(ctx, f.db, func(tx *sqlx.Tx, _ time.Time) (string, error) {
		_, err := tx.ExecContext(ctx, `INSERT INTO done VALUES ($1)`, what)
		return what, err
	})
}

func (f *fixture) rows(t *testing.T, from string) (n int) {
	t.Helper()
	if err := f.db.Get(&n, `SELECT count(*) FROM `+from); err != nil {
		t.Fatal(err)
	}
	return n
}

// isAnswer checks that err is the first answer once more.
func isAnswer(t *testing.T, err error, done string) {
	t.Helper()
	replayed, ok := errors.AsType[*idempotency.Replayed](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	if a := replayed.Answer; a.Status != 201 || a.Header["Location"] != "/"+done || string(a.Body) != done+"\n" {
		t.Errorf("got %+v", a)
	}
}

func isProblem(t *testing.T, err error, kind problem.Kind, code string) {
	t.Helper()
	if p, ok := errors.AsType[*problem.Error](err); !ok || p.Kind != kind || p.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestWorkIsDoneOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t, pgtest.New(t))
	if done, err := f.do(t.Context(), "a"); done != "a" || err != nil {
		t.Fatal(done, err)
	}
	_, err := f.do(t.Context(), "a")
	isAnswer(t, err, "a")
	_, err = f.do(t.Context(), "b")
	isProblem(t, err, problem.KindInvalid, "idempotency_key_reused")
	if n := f.rows(t, `done`); n != 1 {
		t.Errorf("done %d times", n)
	}
}

func TestWorkIsDoneOnceBehindAPooler(t *testing.T) {
	t.Parallel()
	f := setUp(t, pgtest.Open(t, pgtest.NewPooler(t, pgtest.NewURL(t))))
	release := f.held(t, nil)
	_, err := f.do(t.Context(), "a")
	isProblem(t, err, problem.KindConflict, "in_progress")
	release()
	_, err = f.do(t.Context(), "a")
	isAnswer(t, err, "a")
	var limit string
	if err := f.db.Get(&limit, `SHOW lock_timeout`); err != nil || limit != "0" {
		t.Errorf("the limit is left behind: %s, %v", limit, err)
	}
}

func TestWithoutAKeyNothingIsKept(t *testing.T) {
	t.Parallel()
	f := setUp(t, pgtest.New(t))
	for range 2 {
		if done, err := f.doFor(t.Context(), "a"); done != "a" || err != nil {
			t.Fatal(done, err)
		}
	}
	if done, kept := f.rows(t, `done`), f.rows(t, `sonicus.idempotency_keys`); done != 2 || kept != 0 {
		t.Errorf("done %d times, %d keys", done, kept)
	}
}

func TestWorkThatCannotBeAnsweredIsNotDone(t *testing.T) {
	t.Parallel()
	f := setUp(t, pgtest.New(t))
	ctx := f.With(t.Context(), request("a"))
	for name, ctx := range map[string]context.Context{
		"nobody knows how": ctx,
		"another type":     idempotency.Rendering(ctx, func(int) (idempotency.Answer, error) { return idempotency.Answer{}, nil }),
		"a failure":        idempotency.Rendering(ctx, func(string) (idempotency.Answer, error) { return idempotency.Answer{}, errors.New("no") }),
	} {
		_, err := idempotency.InTx(ctx, f.db, func(tx *sqlx.Tx, _ time.Time) (string, error) {
			_, err := tx.Exec(`INSERT INTO done VALUES ('a')`)
			return "a", err
		})
		if _, known := errors.AsType[*problem.Error](err); err == nil || known {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := f.rows(t, `done`) + f.rows(t, `sonicus.idempotency_keys`); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// held begins the work of a request, and leaves it there until release.
func (f *fixture) held(t *testing.T, outcome error) (release func()) {
	t.Helper()
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	ctx := idempotency.Rendering(f.With(t.Context(), request("a")), func(string) (idempotency.Answer, error) {
		return idempotency.Answer{Status: 201, Header: map[string]string{"Location": "/a"}, Body: []byte("a\n")}, nil
	})
	go func() {
		defer close(ended)
		_, err := idempotency.InTx(ctx, f.db, func(*sqlx.Tx, time.Time) (string, error) {
			close(begun)
			<-end
			return "a", outcome
		})
		if !errors.Is(err, outcome) {
			t.Errorf("the holder: %v", err)
		}
	}()
	<-begun
	return func() { close(end); <-ended }
}

// waiting waits until somebody waits for the key.
func (f *fixture) waiting(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		if f.rows(t, `pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()`) > 0 {
			return
		}
	}
	t.Error("nobody waits")
}

func TestSecondRequestWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	for name, outcome := range map[string]error{"which succeeds": nil, "which fails": failed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, pgtest.New(t))
			release := f.held(t, outcome)
			second := make(chan error)
			go func() { _, err := f.do(t.Context(), "a"); second <- err }()
			f.waiting(t)
			release()
			err := <-second
			if outcome == nil {
				isAnswer(t, err, "a")
			} else if n := f.rows(t, `done`); err != nil || n != 1 {
				t.Errorf("done %d times, %v", n, err)
			}
		})
	}
}

func TestSecondRequestDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	f := setUp(t, pgtest.New(t))
	release := f.held(t, nil)
	_, err := f.do(t.Context(), "a")
	isProblem(t, err, problem.KindConflict, "in_progress")
	if p, _ := errors.AsType[*problem.Error](err); p.RetryAfter != time.Second {
		t.Errorf("try again after %v", p.RetryAfter)
	}
	release()
	_, err = f.do(t.Context(), "a")
	isAnswer(t, err, "a")
}

// The first one's COMMIT gets lost while the second one waits for it: the second does
// the work, and the first finds that out.
func TestLostCommitIsAnsweredWithWhatTheOtherHasDone(t *testing.T) {
	t.Parallel()
	database := pgtest.NewURL(t)
	direct := setUp(t, pgtest.Open(t, database))
	second := make(chan error, 1)
	unlucky := setUp(t, pgtest.Open(t, pgtest.NewCutter(t, database, func(commit int64) pgtest.Fate {
		if commit > 1 {
			return pgtest.Answered
		}
		go func() { _, err := direct.do(t.Context(), "a"); second <- err }()
		direct.waiting(t)
		return pgtest.Lost
	})))
	_, err := unlucky.do(t.Context(), "a")
	isAnswer(t, err, "a")
	if err := <-second; err != nil {
		t.Errorf("the second: %v", err)
	}
	if n := direct.rows(t, `done`); n != 1 {
		t.Errorf("done %d times", n)
	}
}

func TestUnknownCommitIsLookedForByItsKey(t *testing.T) {
	t.Parallel()
	for name, fate := range map[string]pgtest.Fate{"lost": pgtest.Lost, "unanswered": pgtest.Unanswered} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.NewURL(t)
			direct := setUp(t, pgtest.Open(t, database))
			f := setUp(t, pgtest.Open(t, pgtest.NewCutter(t, database, pgtest.Once(fate))))
			done, err := f.do(t.Context(), "a")
			if fate == pgtest.Unanswered {
				if done != "a" || err != nil {
					t.Error(done, err)
				}
				return
			}
			isProblem(t, err, problem.KindUnavailable, "commit_unknown")
			if errors.Is(err, postgres.ErrCommitUnknown) {
				t.Error("who asks for it would look once more")
			}
			if done, err := direct.do(t.Context(), "a"); done != "a" || err != nil {
				t.Error(done, err)
			}
		})
	}
}

func TestAnswerIsOfNoUseWithoutItsKey(t *testing.T) {
	t.Parallel()
	f := setUp(t, pgtest.New(t))
	if _, err := f.do(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	other := &fixture{idempotency.NewStore(f.db, box(t, 8)), f.db}
	_, err := other.Find(t.Context(), request("a"))
	isProblem(t, err, problem.KindConflict, "answer_unreadable")
	_, err = other.do(t.Context(), "a")
	isProblem(t, err, problem.KindConflict, "answer_unreadable")
	if n := f.rows(t, `done`); n != 1 {
		t.Errorf("done %d times", n)
	}
}

func TestDatabaseThatIsAwayIsNoFault(t *testing.T) {
	t.Parallel()
	db, err := postgres.Connect(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable", postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, err = idempotency.NewStore(db, box(t, 7)).Find(t.Context(), request("a"))
	isProblem(t, err, problem.KindUnavailable, "unavailable")
}

// old writes keys that are so old.
func (f *fixture) old(t *testing.T, prefix, age string, n int) {
	t.Helper()
	if _, err := f.db.Exec(`INSERT INTO sonicus.idempotency_keys (caller, key, id, created_at)
		SELECT 'c', $1 || i, gen_random_uuid(), now() - $2::text::interval FROM generate_series(1, $3::int) i`, prefix, age, n); err != nil {
		t.Fatal(err)
	}
}

func TestOldKeysAreForgotten(t *testing.T) {
	t.Parallel()
	f := setUp(t, pgtest.New(t))
	f.old(t, "old", "25 hours", 2500)
	f.old(t, "young", "24 hours", 3)
	busy := f.db.MustBegin() // another process is at it, too
	defer func() { _ = busy.Rollback() }()
	if _, err := busy.Exec(`SELECT 1 FROM sonicus.idempotency_keys WHERE key = 'old1' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	if n, err := idempotency.Forget(t.Context(), f.db); n != 2499 || err != nil {
		t.Errorf("forgot %d, %v", n, err)
	}
	if err := busy.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n := f.rows(t, `sonicus.idempotency_keys`); n != 4 {
		t.Errorf("%d left, want the young ones and the one that was locked", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		idempotency.KeepForgetting(ctx, f.db, slog.New(slog.DiscardHandler))
	}()
	for deadline := time.Now().Add(10 * time.Second); f.rows(t, `sonicus.idempotency_keys`) != 3; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the loop does not forget")
		}
	}
	cancel()
	<-ended
}
