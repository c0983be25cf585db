package outbox_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// result is what became of an attempt at an endpoint.
func result(endpoint uuid.UUID, status outbox.Status, reason string, code int, took time.Duration) outbox.Result {
	r := outbox.Result{Status: status, FailureReason: reason, HTTPStatus: code, Took: took}
	r.EndpointID = endpoint
	return r
}

func write(t *testing.T, db *sqlx.DB, tally outbox.Tally) {
	t.Helper()
	if err := tally.Write(t.Context(), db); err != nil || len(tally) != 0 {
		t.Fatalf("%d rows are left: %v", len(tally), err)
	}
}

func total(t *testing.T, db *sqlx.DB, window int) outbox.Statistics {
	t.Helper()
	s, err := outbox.NewReporter(db).Total(t.Context(), outbox.Windows()[window])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func of(t *testing.T, db *sqlx.DB, window int, endpoint uuid.UUID) outbox.Statistics {
	t.Helper()
	s, err := outbox.NewReporter(db).Of(t.Context(), outbox.Windows()[window], endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatisticsTellWhatBecameOfDeliveries(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	now, one, other := clock(t, db), uuid.New(), uuid.New()
	tally := outbox.Tally{}
	for range 90 {
		tally.Add(now, result(one, outbox.Sent, "", 200, 10*time.Millisecond))
	}
	duplicate := result(one, outbox.Sent, "", 200, 10*time.Millisecond)
	duplicate.TookOver = true
	tally.Add(now, duplicate)
	for range 6 {
		tally.Add(now, result(one, outbox.Retrying, "", 503, time.Second))
	}
	tally.Add(now, result(one, outbox.Retrying, "", 0, 30*time.Second)) // no answer: not a response time
	tally.Add(now, result(one, outbox.Failed, "exhausted", 500, time.Second))
	tally.Add(now, result(one, outbox.Failed, "gone", 410, time.Second))
	tally.Add(now, result(other, outbox.Sent, "", 204, 10*time.Millisecond))
	write(t, db, tally)

	got := of(t, db, 0, one)
	if got.Sent != 91 || got.Retrying != 7 || got.Attempts != 100 || got.PossibleDuplicates != 1 {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(map[string]int64{"exhausted": 1, "gone": 1}, got.Failed); diff != "" {
		t.Error(diff)
	}
	if rate, ok := got.SuccessRate(); !ok || rate != 0.91 {
		t.Errorf("success rate %v %v", rate, ok)
	}
	median, _ := got.ResponseTimes.Quantile(0.5)
	slowest, _ := got.ResponseTimes.Quantile(0.99)
	if median < 9*time.Millisecond || median > 11*time.Millisecond || slowest < 900*time.Millisecond || slowest > 1100*time.Millisecond {
		t.Errorf("median %s, p99 %s", median, slowest)
	}
	if all := total(t, db, 0); all.Sent != 92 || all.Attempts != 101 || all.Until.Before(now) || now.Sub(all.From) < time.Hour-time.Minute || now.Sub(all.From) > time.Hour+5*time.Minute {
		t.Errorf("got %+v", all)
	}
	if none := of(t, db, 0, uuid.New()); none.Attempts != 0 || none.From.IsZero() {
		t.Errorf("got %+v", none)
	}
}

// However many dispatchers write at once, whatever the order they collected in.
func TestConcurrentTalliesAreAllCounted(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	now := clock(t, db)
	endpoints := make([]uuid.UUID, 700) // more than one transaction takes
	for i := range endpoints {
		endpoints[i] = uuid.New()
	}
	const writers = 6
	done := make(chan error, writers)
	for i := range writers {
		go func() {
			tally := outbox.Tally{}
			for _, n := range rand.Perm(len(endpoints)) {
				tally.Add(now, result(endpoints[n], outbox.Sent, "", 200, time.Duration(i+1)*time.Millisecond))
				tally.Add(now, result(endpoints[n], outbox.Retrying, "", 500, time.Duration(i+1)*time.Second))
			}
			done <- tally.Write(t.Context(), db)
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	all := total(t, db, 0)
	if want := int64(writers * len(endpoints)); all.Sent != want || all.Retrying != want || counted(all.ResponseTimes) != 2*want {
		t.Errorf("%d sent, %d retrying, %d response times, want %d", all.Sent, all.Retrying, counted(all.ResponseTimes), want)
	}
	if one := of(t, db, 0, endpoints[99]); one.Sent != writers || counted(one.ResponseTimes) != 2*writers {
		t.Errorf("got %+v", one)
	}
}

func counted(l outbox.Latencies) (n int64) {
	for _, c := range l {
		n += c
	}
	return n
}

func TestATallyThatIsNotWrittenIsKept(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	tally := outbox.Tally{}
	tally.Add(clock(t, db), result(uuid.New(), outbox.Sent, "", 200, time.Millisecond))
	exec(t, db, `ALTER TABLE sonicus.delivery_stats RENAME TO away`)
	if err := tally.Write(t.Context(), db); err == nil || len(tally) != 2 {
		t.Fatalf("%d rows are left: %v", len(tally), err)
	}
	exec(t, db, `ALTER TABLE sonicus.away RENAME TO delivery_stats`)
	write(t, db, tally)
	if all := total(t, db, 0); all.Sent != 1 {
		t.Errorf("got %+v", all)
	}
}

func TestCondensingChangesNoAnswer(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	now, one := clock(t, db), uuid.New()
	tally := outbox.Tally{}
	for minutes := 0; minutes < 7*24*60; minutes += 97 { // in every hour of the week, and not at its edges alone
		at := now.Add(-time.Duration(minutes) * time.Minute)
		tally.Add(at, result(one, outbox.Sent, "", 200, time.Duration(minutes+1)*time.Millisecond))
		tally.Add(at, result(one, outbox.Failed, "exhausted", 500, time.Millisecond))
	}
	write(t, db, tally)
	before := map[int]outbox.Statistics{}
	for w := range outbox.Windows() {
		before[w] = of(t, db, w, one)
	}
	done := make(chan error, 4)
	for range cap(done) { // as so many dispatchers do
		go func() {
			for {
				if n, err := outbox.Condense(t.Context(), db); n == 0 || err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for n := 1; n > 0; { // what one had locked, another may have passed over
		var err error
		if n, err = outbox.Condense(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	}
	for w, want := range before {
		got := of(t, db, w, one)
		if !got.From.Equal(want.From) {
			continue // the clock has gone on
		}
		want.Until, want.Backlog, got.Until, got.Backlog = time.Time{}, outbox.Backlog{}, time.Time{}, outbox.Backlog{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", outbox.Windows()[w].Name, diff)
		}
	}
	if n := count(t, db, `sonicus.delivery_stats WHERE minutes = 5 AND starts_at < now() - interval '2 hours'`); n != 0 {
		t.Errorf("%d rows are not condensed", n)
	}
	if n := count(t, db, `sonicus.delivery_stats WHERE minutes = 60`); n == 0 {
		t.Error("nothing is condensed")
	}
}

func TestStatisticsGoAfterEightDaysInBoundedSteps(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, `INSERT INTO sonicus.delivery_stats (endpoint_id, starts_at, minutes, status, deliveries, attempts, possible_duplicates, response_times)
		SELECT gen_random_uuid(), date_trunc('hour', now()) - interval '193 hours', 60, 'sent', 1, 1, 0, '{}'::integer[] FROM generate_series(1, 2500)
		UNION ALL SELECT gen_random_uuid(), date_trunc('hour', now()) - interval '191 hours', 60, 'sent', 1, 1, 0, '{}' FROM generate_series(1, 10)`)
	var steps []int
	for {
		n, err := outbox.Condense(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		steps = append(steps, n)
	}
	if diff := cmp.Diff([]int{1000, 1000, 500}, steps); diff != "" {
		t.Error(diff)
	}
	if n := count(t, db, `sonicus.delivery_stats`); n != 10 {
		t.Errorf("%d rows are left", n)
	}
}

func TestWindowsReachBackAsFarAsTheySay(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	now, tally := clock(t, db), outbox.Tally{}
	for _, age := range []time.Duration{time.Minute, 55 * time.Minute, 3 * time.Hour, 23 * time.Hour, 50 * time.Hour, 167 * time.Hour, 170 * time.Hour} {
		tally.Add(now.Add(-age), result(uuid.New(), outbox.Sent, "", 200, time.Millisecond))
	}
	write(t, db, tally)
	for w, want := range []int64{2, 4, 6} {
		if got := total(t, db, w); got.Sent != want {
			t.Errorf("%s: %d, want %d", outbox.Windows()[w].Name, got.Sent, want)
		}
	}
}

func TestBacklogTellsHowMuchWaitsAndForHowLong(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	busy, paused, idle := endpoint(t, db, target{}), endpoint(t, db, target{Paused: true}), endpoint(t, db, target{Inactive: true})
	publish(t, db, organization(t, db), 5)
	exec(t, db, `UPDATE sonicus.queue SET due_at = now() - interval '10 minutes' WHERE endpoint_id = $1`, paused)
	exec(t, db, `UPDATE sonicus.queue SET due_at = now() - interval '5 minutes'
		WHERE delivery_id IN (SELECT delivery_id FROM sonicus.queue WHERE endpoint_id = $1 ORDER BY delivery_id LIMIT 2)`, busy)
	exec(t, db, `UPDATE sonicus.queue SET due_at = now() + interval '1 hour', retry = true
		WHERE delivery_id IN (SELECT delivery_id FROM sonicus.queue WHERE endpoint_id = $1 ORDER BY delivery_id DESC LIMIT 1)`, busy)
	check := func(who string, got outbox.Backlog, deliveries int, oldest time.Duration) {
		t.Helper()
		if got.Deliveries != deliveries || got.More || got.OldestDue < oldest || (oldest == 0 && got.OldestDue != 0) || got.OldestDue > oldest+4*time.Minute {
			t.Errorf("%s: got %+v, want %d and %s", who, got, deliveries, oldest)
		}
	}
	check("of the busy one", of(t, db, 0, busy).Backlog, 5, 5*time.Minute)
	check("of the paused one", of(t, db, 0, paused).Backlog, 5, 10*time.Minute)
	check("of the idle one", of(t, db, 0, idle).Backlog, 0, 0)
	check("of all, but for what waits on purpose", total(t, db, 0).Backlog, 10, 5*time.Minute)
	ask(t, db, first(busy, 2)) // under a lease: those that were due for longest
	if got := of(t, db, 0, busy).Backlog; got.Deliveries != 5 || got.OldestDue > 4*time.Minute {
		t.Errorf("with two in flight: %+v", got)
	}
	listed, err := outbox.NewReporter(db).List(t.Context(), outbox.Windows()[0], 10, uuid.Nil)
	if err != nil || len(listed) != 3 {
		t.Fatalf("%d are listed: %v", len(listed), err)
	}
	for _, s := range listed {
		if want := map[uuid.UUID]int{busy: 5, paused: 5}[s.EndpointID]; s.Backlog.Deliveries != want {
			t.Errorf("%s: %+v", s.EndpointID, s.Backlog)
		}
	}
}

func TestAHugeBacklogIsCountedOnlySoFar(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id := endpoint(t, db, target{})
	exec(t, db, `INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at) SELECT gen_random_uuid(), $1, now() - n * interval '1 ms' FROM generate_series(1, 12000) n`, id)
	for who, got := range map[string]outbox.Backlog{"of it": of(t, db, 0, id).Backlog, "of all": total(t, db, 0).Backlog} {
		if got.Deliveries != 10_000 || !got.More || got.OldestDue < 12*time.Second {
			t.Errorf("%s: got %+v", who, got)
		}
	}
}

func TestDeliveriesThatEndWithTheirEndpointAreCounted(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id := endpoint(t, db, target{})
	publish(t, db, organization(t, db), 3)
	exec(t, db, `UPDATE sonicus.endpoints SET deleted_at = now() WHERE id = $1`, id)
	if n, err := outbox.Abandon(t.Context(), db, outbox.Lane{EndpointID: id}); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for who, got := range map[string]outbox.Statistics{"of it": of(t, db, 0, id), "of all": total(t, db, 0)} {
		if _, known := got.SuccessRate(); fmt.Sprint(got.Failed) != "map[endpoint_deleted:3]" || got.Attempts != 0 || known {
			t.Errorf("%s: %+v", who, got)
		}
	}
}
