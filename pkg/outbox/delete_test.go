package outbox_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

func deleteEndpoint(t *testing.T, db *sqlx.DB, id uuid.UUID) {
	t.Helper()
	exec(t, db, `UPDATE sonicus.endpoints SET deleted_at = now() WHERE id = $1`, id)
}

// abandonAll does what a dispatcher does, and returns the size of each transaction.
func abandonAll(t *testing.T, db *sqlx.DB) (sizes []int) {
	t.Helper()
	lanes, err := outbox.Deserted(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, lane := range lanes {
		for {
			n, err := outbox.Abandon(t.Context(), db, lane)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			sizes = append(sizes, n)
			booksAgree(t, db)
		}
	}
	return sizes
}

const endedAsDeleted = `sonicus.deliveries WHERE status = 'failed' AND failure_reason = 'endpoint_deleted'`

func TestBacklogOfADeletedEndpointEndsInBoundedTransactions(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	gone, other, org := endpoint(t, db, target{MaxRetries: 3}), endpoint(t, db, target{Events: `["organization.updated"]`}), organization(t, db)
	publish(t, db, org, 1203)
	var claimed []outbox.Claimed
	claimed, _ = ask(t, db, first(gone, 3))
	settle(t, db, retrying(claimed[0], time.Hour), retrying(claimed[1], time.Hour), retrying(claimed[2], time.Hour))
	if sizes := abandonAll(t, db); sizes != nil {
		t.Errorf("ended %v while the endpoint was there", sizes)
	}
	deleteEndpoint(t, db, gone)
	if none, _ := ask(t, db, first(gone, 10), again(gone, 10)); len(none) > 0 {
		t.Errorf("%d claimed for a deleted endpoint", len(none))
	}
	sizes := abandonAll(t, db)
	if len(sizes) != 3 || sizes[0] != 1000 || sizes[1] != 200 || sizes[2] != 3 {
		t.Errorf("ended in transactions of %v", sizes)
	}
	if n := count(t, db, endedAsDeleted+` AND endpoint_id = $1`, gone); n != 1203 {
		t.Errorf("%d of 1203 ended", n)
	}
	if n := count(t, db, `sonicus.queue WHERE endpoint_id = $1`, other); n != 1202 {
		t.Errorf("%d of 1202 are left to another endpoint", n)
	}
	if n := count(t, db, `sonicus.queue WHERE endpoint_id = $1`, gone); n != 0 {
		t.Errorf("%d left", n)
	}
}

func TestDeliveryInFlightWhenItsEndpointIsDeletedEndsWithItsResult(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id := endpoint(t, db, target{MaxRetries: 3})
	publish(t, db, organization(t, db), 4)
	claimed, _ := ask(t, db, first(id, 4))
	deleteEndpoint(t, db, id)
	if sizes := abandonAll(t, db); sizes != nil {
		t.Errorf("ended %v that were in flight", sizes)
	}
	results := []outbox.Result{sent(claimed[0]), retrying(claimed[1], time.Hour), failed(claimed[2], "gone")}
	results[2].HTTPStatus = 410
	settle(t, db, results...)
	if results[1].Status != outbox.Failed || results[1].FailureReason != outbox.EndpointDeleted {
		t.Errorf("the caller is told %s %s", results[1].Status, results[1].FailureReason)
	}
	booksAgree(t, db)
	for from, want := range map[string]int{`sonicus.deliveries WHERE status = 'sent'`: 1, endedAsDeleted + ` AND attempt_count = 1`: 1, `sonicus.deliveries WHERE failure_reason = 'gone'`: 1, `sonicus.queue`: 1} {
		if n := count(t, db, from); n != want {
			t.Errorf("%d %s, want %d", n, from, want)
		}
	}

	endLeases(t, db) // of a dispatcher that has died, or only seems to
	if sizes := abandonAll(t, db); len(sizes) != 1 || sizes[0] != 1 {
		t.Errorf("ended %v when the lease was over", sizes)
	}
	if late := settle(t, db, sent(claimed[3])); len(late) != 1 {
		t.Errorf("late results: %v", late)
	}
	booksAgree(t, db)
}

func TestOrderedStreamsOfADeletedEndpointEnd(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, org := endpoint(t, db, target{Ordered: true, MaxRetries: 3}), organization(t, db)
	publish(t, db, org, 1005)
	claimed, _ := ask(t, db, first(id, 10))
	deleteEndpoint(t, db, id)
	abandonAll(t, db)
	results := []outbox.Result{retrying(claimed[0], time.Hour)}
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) error {
		if _, err := outbox.Settle(t.Context(), tx, "test", results); err != nil {
			return err
		}
		_, err := outbox.Promote(t.Context(), tx, results)
		return err
	})
	booksAgree(t, db)
	if n := count(t, db, endedAsDeleted); n != 1005 || count(t, db, `sonicus.queue`) != 0 {
		t.Errorf("%d of 1005 ended", n)
	}
}

// An event that is being published while the endpoint is deleted is committed later.
func TestDeliveryCommittedAfterTheDeletionEndsToo(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, org := endpoint(t, db, target{}), organization(t, db)
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
		_, err := outbox.Publish(t.Context(), tx, created(t, org, now))
		deleteEndpoint(t, db, id)
		abandonAll(t, db)
		return err
	})
	if sizes := abandonAll(t, db); len(sizes) != 1 {
		t.Errorf("ended %v", sizes)
	}
	booksAgree(t, db)
}
