package outbox_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

type delivery struct {
	Status      string  `db:"status"`
	Attempts    int     `db:"attempt_count"`
	HTTPStatus  *int    `db:"http_status_code"`
	Error       *string `db:"error_message"`
	Failure     *string `db:"failure_reason"`
	Body        *string `db:"response_body"`
	Headers     *string `db:"response_headers"`
	Delivered   bool    `db:"delivered"`
	LastAttempt bool    `db:"attempted"`
	Queued      bool    `db:"queued"`
}

func TestSettleRecordsWhatBecameOfADelivery(t *testing.T) {
	t.Parallel()
	str, num := func(s string) *string { return &s }, func(n int) *int { return &n }
	for name, c := range map[string]struct {
		result func(outbox.Claimed) outbox.Result
		want   delivery
	}{
		"sent": {sent, delivery{Status: "sent", Attempts: 1, HTTPStatus: num(204), Delivered: true, LastAttempt: true}},
		"retrying": {
			func(c outbox.Claimed) outbox.Result { return retrying(c, time.Hour) },
			delivery{
				Status: "retrying", Attempts: 1, HTTPStatus: num(503), Error: str("receiver answered 503"),
				Body: str("busy"), Headers: str(`{"Content-Type":"text/plain"}`), LastAttempt: true, Queued: true,
			},
		},
		"failed": {
			func(c outbox.Claimed) outbox.Result { return failed(c, "exhausted") },
			delivery{Status: "failed", Attempts: 1, Error: str("timed out"), Failure: str("exhausted"), LastAttempt: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			endpoint(t, db, target{})
			publish(t, db, organization(t, db), 1)
			settle(t, db, c.result(claim(t, db, 1)[0]))
			var got delivery
			if err := db.GetContext(t.Context(), &got, `
				SELECT status, attempt_count, http_status_code, error_message, failure_reason, response_body, response_headers,
				       delivered_at IS NOT NULL AS delivered, last_attempt_at IS NOT NULL AS attempted, next_attempt_at IS NOT NULL AS queued
				FROM sonicus.webhook_deliveries`); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if n := len(claim(t, db, 1)); n != 0 {
				t.Error("claimable before it is due")
			}
			booksAgree(t, db)
		})
	}
}

func TestRetriesAreNumberedAndEndAsSent(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{MaxRetries: 5})
	publish(t, db, organization(t, db), 1)
	settle(t, db, retrying(claim(t, db, 1)[0], 0))
	settle(t, db, retrying(claim(t, db, 1)[0], 0))
	settle(t, db, sent(claim(t, db, 1)[0]))
	var numbers []int
	if err := db.SelectContext(t.Context(), &numbers, `SELECT number FROM sonicus.attempts ORDER BY started_at`); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{1, 2, 3}, numbers); d != "" {
		t.Error(d)
	}
	booksAgree(t, db)
}

func TestSettlingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{MaxRetries: 1})
	publish(t, db, organization(t, db), 3)
	c := claim(t, db, 3)
	results := []outbox.Result{sent(c[0]), retrying(c[1], 0), failed(c[2], "exhausted")}
	settle(t, db, results...)
	before := snapshot(t, db)
	if late := settle(t, db, results...); len(late) != 0 { // as after a COMMIT whose answer was lost
		t.Errorf("%d results called late", len(late))
	}
	if d := cmp.Diff(before, snapshot(t, db)); d != "" {
		t.Error(d)
	}
}

func TestLateResultIsRecordedAndNotApplied(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{MaxRetries: 1})
	publish(t, db, organization(t, db), 1)
	slow := claim(t, db, 1)[0]
	endLeases(t, db)
	quick := claim(t, db, 1)[0]

	if late := settle(t, db, sent(slow)); len(late) != 1 || late[0] != slow.DeliveryID {
		t.Errorf("late: %v, want %s", late, slow.DeliveryID)
	}
	if n := count(t, db, `sonicus.deliveries WHERE status = 'pending' AND attempt_count = 0`); n != 1 {
		t.Error("the late result was applied")
	}
	if n := count(t, db, `sonicus.late_results WHERE number = 1 AND http_status_code = 204`); n != 1 {
		t.Error("the late result was not recorded")
	}
	if late := settle(t, db, retrying(quick, 0)); len(late) != 0 {
		t.Error("the holder of the lease was called late")
	}
	if late := settle(t, db, sent(slow)); len(late) != 0 {
		t.Error("the late result counted twice")
	}
	if n := count(t, db, `sonicus.deliveries WHERE status = 'retrying' AND attempt_count = 1`); n != 1 {
		t.Error("the result of the lease's holder was not applied")
	}
	booksAgree(t, db)
}

func TestOldAndNewLeaseOfOneDeliveryInOneGroup(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{MaxRetries: 1})
	publish(t, db, organization(t, db), 1)
	slow := claim(t, db, 1)[0]
	endLeases(t, db)
	quick := claim(t, db, 1)[0]
	if late := settle(t, db, sent(slow), retrying(quick, time.Hour)); len(late) != 1 {
		t.Errorf("%d results late, want the one of the old lease", len(late))
	}
	if n := count(t, db, `sonicus.deliveries WHERE status = 'retrying' AND attempt_count = 1`); n != 1 {
		t.Error("the result of the new lease was not applied")
	}
	booksAgree(t, db)
}

func TestEndedLeaseThatNobodyTookStillCounts(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{})
	publish(t, db, organization(t, db), 1)
	c := claim(t, db, 1)[0]
	endLeases(t, db)
	if late := settle(t, db, sent(c)); len(late) != 0 {
		t.Error("called late although nobody else held it")
	}
	booksAgree(t, db)
}

func TestMixedGroupIsSettledRowByRow(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	endpoint(t, db, target{MaxRetries: 3})
	publish(t, db, organization(t, db), 300)
	claimed := claim(t, db, 300)
	endLeases(t, db)
	taken := claim(t, db, 100) // a third of the leases is lost
	var results []outbox.Result
	for i, c := range claimed {
		results = append(results, []outbox.Result{sent(c), retrying(c, time.Hour), failed(c, "gone")}[i%3])
		if i%3 == 2 {
			results[i].HTTPStatus = 410
		}
	}
	late := settle(t, db, results...)
	if len(late) != len(taken) {
		t.Errorf("%d late, want %d", len(late), len(taken))
	}
	if n := count(t, db, "sonicus.attempts"); n != 200 {
		t.Errorf("%d attempts recorded, want 200", n)
	}
	booksAgree(t, db)
}

// snapshot renders the tables that settling writes.
func snapshot(t *testing.T, db interface {
	Select(dest any, query string, args ...any) error
},
) []string {
	t.Helper()
	var rows []string
	for _, table := range []string{"deliveries", "attempts", "queue", "late_results"} {
		var part []string
		if err := db.Select(&part, `SELECT x::text FROM sonicus.`+table+` x ORDER BY 1`); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, part...)
	}
	return rows
}
