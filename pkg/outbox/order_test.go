package outbox_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
			head := claim(t, db, 1)[0]
			settling := begin(t, db)
			if _, err := settleIn(t.Context(), settling, sent(head)); err != nil {
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

func TestSettlingTheRowBeforeWaitsForThePublisher(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{Ordered: true})
	org := organization(t, db)
	publish(t, db, org, 1)
	head := claim(t, db, 1)[0]
	publishing := begin(t, db)
	ev := created(t, org, time.Now())
	if _, err := outbox.Publish(t.Context(), publishing, ev); err != nil {
		t.Fatal(err)
	}
	promoted := make(chan int, 1)
	go func() {
		n := 0
		err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
			next, err := settleIn(t.Context(), tx, sent(head))
			n = len(next)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		promoted <- n
	}()
	awaitBlocked(t, db, 1)
	if err := publishing.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := <-promoted; n != 1 {
		t.Errorf("%d rows follow, want the one published meanwhile", n)
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

// Publishers, also of several organizations in one transaction, and settling
// transactions at the same time: every stream is worked off in its order, none is
// left without a row that is due, and nobody deadlocks.
func TestStreamsNeverStallNorOvertake(t *testing.T) {
	t.Parallel()
	const publishers, each, settlers = 4, 15, 3
	db := pgtest.New(t)
	endpoint(t, db, target{Ordered: true})
	endpoint(t, db, target{Ordered: true})
	organizations := []uuid.UUID{organization(t, db), organization(t, db), organization(t, db)}
	slices.SortFunc(organizations, func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) })
	var publishing, settling sync.WaitGroup
	for range publishers {
		publishing.Go(func() {
			for i := range each {
				publishAll(t, db, organizations[i%2:])
			}
		})
	}
	published := make(chan struct{})
	go func() { publishing.Wait(); close(published) }()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
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
	if n := count(t, db, "sonicus.deliveries"); n != 2*publishers*(8*3+7*2) {
		t.Errorf("%d deliveries", n)
	}
	if n := count(t, db, `sonicus.deliveries WHERE status <> 'sent' OR attempt_count <> 1`); n != 0 {
		t.Errorf("%d deliveries were not settled exactly once", n)
	}
	booksAgreeBut(t, db, "an organization has one organization.created event")
}

// publishAll commits one event of each organization in one transaction.
func publishAll(t *testing.T, db *sqlx.DB, organizations []uuid.UUID) {
	err := postgres.InTx(context.WithoutCancel(t.Context()), db, func(tx *sqlx.Tx, now time.Time) error {
		for _, org := range organizations {
			ev, err := event.NewOrganizationCreated(postgres.NewID(now), now, event.Organization{ID: org}, nil)
			if err != nil {
				return err
			}
			if _, err := outbox.Publish(t.Context(), tx, ev); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
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

// settleSome claims what is due and settles it as sent.
func settleSome(ctx context.Context, db *sqlx.DB) (int, error) {
	work, err := outbox.Sweep(ctx, db, 0)
	if err != nil || len(work) == 0 {
		return 0, err
	}
	var asks []outbox.Ask
	for _, w := range work {
		asks = append(asks, outbox.Ask{Lane: w.Lane, Most: 3})
	}
	claimed, _, err := outbox.Claim(ctx, db, asks)
	if err != nil || len(claimed) == 0 {
		return len(claimed), err
	}
	var results []outbox.Result
	streams := map[string]bool{}
	for _, c := range claimed {
		stream := c.EndpointID.String() + c.OrganizationID.UUID.String()
		if streams[stream] {
			return 0, fmt.Errorf("two deliveries of a stream were claimed at once")
		}
		streams[stream] = true
		results = append(results, sent(c))
	}
	return len(claimed), postgres.InTx(ctx, db, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := settleIn(ctx, tx, results...)
		return err
	})
}

// settleIn settles as the dispatcher does, and returns the lanes of what follows.
func settleIn(ctx context.Context, tx *sqlx.Tx, results ...outbox.Result) ([]outbox.Work, error) {
	if _, err := outbox.Settle(ctx, tx, "test", results); err != nil {
		return nil, err
	}
	return outbox.Promote(ctx, tx, results)
}
