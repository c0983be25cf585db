package outbox_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func TestOnlyTheFirstOfAStreamIsDue(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	ordered, second, free := endpoint(t, db, target{Ordered: true}), endpoint(t, db, target{Ordered: true}), endpoint(t, db, target{})
	mine, other := organization(t, db), organization(t, db)
	publish(t, db, mine, 2) // in one transaction
	publish(t, db, mine, 1)
	publish(t, db, other, 2)
	type row struct {
		Due, Placed bool
	}
	for _, endpoint := range []uuid.UUID{ordered, second} {
		for _, c := range []struct {
			organization uuid.UUID
			want         []row
		}{
			{mine, []row{{true, true}, {false, true}, {false, true}}},
			{other, []row{{true, true}, {false, true}}},
		} {
			var got []row
			err := db.SelectContext(t.Context(), &got, `SELECT q.due_at IS NOT NULL AS due, q.position IS NOT NULL AS placed
				FROM sonicus.queue q JOIN sonicus.deliveries d ON d.id = q.delivery_id JOIN sonicus.events e ON e.id = d.event_id
				WHERE q.endpoint_id = $1 AND q.organization_id = $2 AND e.organization_id = $2 ORDER BY q.position`, endpoint, c.organization)
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		}
	}
	if n := count(t, db, `sonicus.queue WHERE endpoint_id = $1 AND due_at <= clock_timestamp() AND position IS NULL AND organization_id IS NULL`, free); n != 5 {
		t.Errorf("%d of 5 deliveries without order are due", n)
	}
}

func TestStreamThatHasRunEmptyBeginsAnew(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{Ordered: true})
	org := organization(t, db)
	publish(t, db, org, 1)
	exec(t, db, `DELETE FROM sonicus.queue`)
	publish(t, db, org, 1)
	if n := count(t, db, `sonicus.queue WHERE due_at <= clock_timestamp() AND position IS NOT NULL`); n != 1 {
		t.Error("the only delivery of the stream is not due")
	}
}

// Who wants no order pays nothing for those who do.
func TestPublishingWithoutOrderLocksAndCountsNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{})
	org := organization(t, db)
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
		if _, err := outbox.Publish(t.Context(), tx, created(t, org, now)); err != nil {
			return err
		}
		var locks int
		err := tx.GetContext(t.Context(), &locks, `SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'`)
		if locks != 0 {
			t.Errorf("%d advisory locks", locks)
		}
		return err
	})
	if n := count(t, db, `sonicus.queue_position WHERE is_called`); n != 0 {
		t.Error("a position was given out")
	}
}

// Settling deletes the row before ours and then lets the next one follow. When it
// cannot see ours yet, ours must see that it is the first.
func TestPublisherWaitsForTheDeletionOfTheRowBefore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end func(*sqlx.Tx) error
		due int
	}{
		"deleted":    {(*sqlx.Tx).Commit, 1},
		"not at all": {(*sqlx.Tx).Rollback, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			endpoint(t, db, target{Ordered: true})
			org := organization(t, db)
			publish(t, db, org, 1)
			settling := begin(t, db)
			if _, err := settling.ExecContext(t.Context(), `DELETE FROM sonicus.queue`); err != nil {
				t.Fatal(err)
			}
			published := make(chan event.Envelope, 1)
			go func() { published <- publishOne(t, db, org) }()
			awaitBlocked(t, db, 1)
			if err := c.end(settling); err != nil {
				t.Fatal(err)
			}
			ev := <-published
			if n := count(t, db, `sonicus.queue q JOIN sonicus.deliveries d ON d.id = q.delivery_id WHERE d.event_id = $1 AND q.due_at IS NOT NULL`, ev.ID); n != c.due {
				t.Errorf("%d rows due, want %d", n, c.due)
			}
		})
	}
}

func TestDeletionOfTheRowBeforeWaitsForThePublisher(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{Ordered: true})
	org := organization(t, db)
	publish(t, db, org, 1)
	publishing := begin(t, db)
	ev := created(t, org, time.Now())
	if _, err := outbox.Publish(t.Context(), publishing, ev); err != nil {
		t.Fatal(err)
	}
	promoted := make(chan int64, 1)
	go func() {
		err := postgres.InTx(context.WithoutCancel(t.Context()), db, func(tx *sqlx.Tx, _ time.Time) error {
			if _, err := tx.ExecContext(t.Context(), `DELETE FROM sonicus.queue WHERE due_at IS NOT NULL`); err != nil {
				return err
			}
			res, err := tx.ExecContext(t.Context(), `UPDATE sonicus.queue SET due_at = clock_timestamp() WHERE due_at IS NULL`)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			promoted <- n
			return err
		})
		if err != nil {
			t.Error(err)
			promoted <- -1
		}
	}()
	awaitBlocked(t, db, 1)
	if err := publishing.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := <-promoted; n != 1 {
		t.Errorf("%d rows follow, want the one published meanwhile", n)
	}
}

// Settling takes queue rows in the order of their ids. A publisher that took any
// of them before one that it has to wait for would deadlock with it.
func TestPublisherLocksInTheOrderOfSettling(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for range 8 {
		endpoint(t, db, target{Ordered: true})
	}
	org := organization(t, db)
	publish(t, db, org, 1)
	settling := begin(t, db)
	const lock = `SELECT delivery_id FROM sonicus.queue ORDER BY delivery_id `
	if _, err := settling.ExecContext(t.Context(), lock+`LIMIT 1 FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	done := make(chan event.Envelope, 1)
	go func() { done <- publishOne(t, db, org) }()
	awaitBlocked(t, db, 1)
	if _, err := settling.ExecContext(t.Context(), lock+`FOR UPDATE NOWAIT`); err != nil {
		t.Errorf("the waiting publisher holds a later row: %v", err)
	}
	if err := settling.Commit(); err != nil {
		t.Fatal(err)
	}
	<-done
	if n := count(t, db, `sonicus.queue WHERE due_at IS NULL`); n != 8 {
		t.Errorf("%d rows wait, want 8", n)
	}
}

func TestPublishersOfOneOrganizationTakeTurns(t *testing.T) {
	t.Parallel()
	const publishers = 6
	db := pgtest.New(t)
	hook := endpoint(t, db, target{Ordered: true})
	org, other := organization(t, db), organization(t, db)
	first := begin(t, db)
	if _, err := outbox.Publish(t.Context(), first, created(t, org, time.Now())); err != nil {
		t.Fatal(err)
	}
	var others sync.WaitGroup
	for range publishers {
		others.Go(func() { publishOne(t, db, org) })
	}
	awaitBlocked(t, db, publishers)
	publishOne(t, db, other) // waits for nobody
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	others.Wait()
	if n := count(t, db, `sonicus.queue WHERE endpoint_id = $1 AND organization_id = $2 AND due_at IS NOT NULL`, hook, org); n != 1 {
		t.Errorf("%d deliveries of one organization are due at once", n)
	}
	if n := count(t, db, `sonicus.queue WHERE organization_id = $1`, org); n != publishers+1 {
		t.Errorf("%d deliveries, want %d", n, publishers+1)
	}
}

// publishOne commits one event; unlike publish it may run beside the test.
func publishOne(t *testing.T, db *sqlx.DB, organization uuid.UUID) event.Envelope {
	var ev event.Envelope
	err := postgres.InTx(context.WithoutCancel(t.Context()), db, func(tx *sqlx.Tx, now time.Time) (err error) {
		id := postgres.NewID(now)
		if ev, err = event.NewOrganizationCreated(id, now, event.Organization{ID: organization}, nil); err != nil {
			return err
		}
		_, err = outbox.Publish(t.Context(), tx, ev)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return ev
}

func begin(t *testing.T, db *sqlx.DB) *sqlx.Tx {
	t.Helper()
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// awaitBlocked returns when n connections of this database wait for a lock.
func awaitBlocked(t *testing.T, db *sqlx.DB, n int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if count(t, db, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) >= n {
			return
		}
	}
	t.Fatalf("fewer than %d connections waited for a lock within 30 s", n)
}

// Publishers and settling transactions at the same time: every stream is worked
// off in its order, none is left without a row that is due, and nobody deadlocks.
func TestStreamsNeverStallNorOvertake(t *testing.T) {
	t.Parallel()
	const publishers, each, settlers = 4, 15, 3
	db := pgtest.New(t)
	endpoint(t, db, target{Ordered: true})
	endpoint(t, db, target{Ordered: true})
	organizations := []uuid.UUID{organization(t, db), organization(t, db)}
	var publishing, settling sync.WaitGroup
	for range publishers {
		publishing.Go(func() {
			for i := range each {
				publishOne(t, db, organizations[i%2])
			}
		})
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	published := make(chan struct{})
	go func() { publishing.Wait(); close(published) }()
	for range settlers {
		settling.Go(func() {
			for {
				last := isClosed(published) // nothing is added after this
				n, err := settleSome(ctx, db)
				if err != nil {
					t.Error(err)
					return
				}
				if n == 0 && last {
					return
				}
			}
		})
	}
	publishing.Wait()
	settling.Wait()
	// What another settler still held when the others went is promoted by it.
	for n := 1; n > 0; {
		var err error
		if n, err = settleSome(ctx, db); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, db, "sonicus.queue"); n != 0 {
		t.Errorf("%d deliveries stalled", n)
	}
	if n := count(t, db, "sonicus.deliveries"); n != publishers*each*2 {
		t.Errorf("%d deliveries", n)
	}
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// settleSome does to the queue what settling does: it takes rows that are due out
// in the order of their ids, and then lets the next of their streams follow.
func settleSome(ctx context.Context, db *sqlx.DB) (taken int, err error) {
	err = postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		var done []struct {
			Endpoint     uuid.UUID `db:"endpoint_id"`
			Organization uuid.UUID `db:"organization_id"`
			Before       int       `db:"before"`
		}
		err := tx.SelectContext(ctx, &done, `WITH due AS (
				SELECT delivery_id FROM sonicus.queue WHERE due_at IS NOT NULL ORDER BY delivery_id LIMIT 3 FOR UPDATE SKIP LOCKED
			)
			DELETE FROM sonicus.queue q USING due WHERE q.delivery_id = due.delivery_id
			RETURNING q.endpoint_id, q.organization_id, (SELECT count(*) FROM sonicus.queue b
				WHERE b.endpoint_id = q.endpoint_id AND b.organization_id = q.organization_id AND b.position < q.position) AS before`)
		if err != nil {
			return err
		}
		for _, d := range done {
			if d.Before > 0 {
				return fmt.Errorf("overtook %d deliveries", d.Before)
			}
			if _, err := tx.ExecContext(ctx, `UPDATE sonicus.queue SET due_at = clock_timestamp() WHERE due_at IS NULL AND delivery_id =
				(SELECT delivery_id FROM sonicus.queue WHERE endpoint_id = $1 AND organization_id = $2 ORDER BY position LIMIT 1)`, d.Endpoint, d.Organization); err != nil {
				return err
			}
		}
		taken = len(done)
		return nil
	})
	return taken, err
}
