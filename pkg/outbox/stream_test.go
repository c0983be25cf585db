package outbox_test

import (
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// follow settles a result and lets the next of its stream go.
func follow(t *testing.T, db *sqlx.DB, r outbox.Result) (due []outbox.Work) {
	t.Helper()
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
		if _, err := outbox.Settle(t.Context(), tx, "test", []outbox.Result{r}); err != nil {
			return err
		}
		var err error
		due, err = outbox.Promote(t.Context(), tx, []outbox.Result{r})
		return err
	})
	return due
}

func TestOnlyTheHeadOfAStreamIsClaimed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	hook := endpoint(t, db, target{Ordered: true, MaxRetries: 5})
	mine, other := organization(t, db), organization(t, db)
	events := publish(t, db, mine, 4)
	publish(t, db, other, 2)
	head := func(want int) (outbox.Claimed, bool) {
		t.Helper()
		for _, c := range claim(t, db, 10) {
			if c.OrganizationID.UUID == mine {
				if c.EventID != events[want].ID {
					t.Errorf("claimed another event than number %d", want)
				}
				return c, true
			}
		}
		return outbox.Claimed{}, false
	}
	none := func(when string) {
		t.Helper()
		if c, ok := head(0); ok {
			t.Errorf("%s: claimed %s", when, c.EventID)
		}
	}
	one, _ := head(0)
	if n := count(t, db, `sonicus.queue WHERE lease_until IS NOT NULL AND organization_id = $1`, other); n != 1 {
		t.Errorf("the other organization has %d in flight, want its head", n)
	}
	none("head in flight")
	exec(t, db, `UPDATE sonicus.queue SET due_at = clock_timestamp() WHERE due_at IS NULL AND organization_id = $1`, mine)
	none("all are due, by mistake")
	exec(t, db, `UPDATE sonicus.queue SET due_at = NULL WHERE lease_token IS NULL AND organization_id = $1`, mine)

	if due := follow(t, db, retrying(one, time.Hour)); len(due) != 0 {
		t.Error("a retry let the next one go")
	}
	none("head waits for its retry")
	exec(t, db, `UPDATE sonicus.queue SET due_at = clock_timestamp() WHERE retry`)
	one, _ = head(0)
	if due := follow(t, db, sent(one)); len(due) != 1 || due[0].Lane != first(hook, 1).Lane {
		t.Errorf("sent: due at %v", due)
	}
	two, _ := head(1)
	if due := follow(t, db, failed(two, "exhausted")); len(due) != 1 || due[0].Lane != first(hook, 1).Lane {
		t.Errorf("failed: due at %v", due)
	}
	head(2)
	endLeases(t, db) // the dispatcher dies
	three, _ := head(2)
	if !three.TookOver {
		t.Error("not marked as a possible duplicate")
	}
	follow(t, db, sent(three))
	four, _ := head(3)
	if due := follow(t, db, sent(four)); len(due) != 0 {
		t.Errorf("the stream is empty, but due at %v", due)
	}
	if n := count(t, db, `sonicus.queue WHERE organization_id = $1 AND due_at IS NULL`, other); n != 1 {
		t.Error("one organization's progress moved another's stream")
	}
}
