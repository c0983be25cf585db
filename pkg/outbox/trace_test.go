package outbox_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/outbox"
)

func TestAttemptsTellHowTheirRequestWentAndWhatCameOfIt(t *testing.T) {
	t.Parallel()
	h := newHands(t)
	endpoint(t, h.db, target{MaxRetries: 2})
	publish(t, h.db, organization(t, h.db), 1)
	var id uuid.UUID
	for _, change := range []func(*outbox.Result){
		func(r *outbox.Result) {
			r.Trace = outbox.Trace{Clock: 1754583652, Address: netip.MustParseAddr("2001:db8::1"), DNS: time.Millisecond, Connect: 2 * time.Millisecond, TLS: 3 * time.Millisecond, FirstByte: 4 * time.Millisecond}
		},
		func(r *outbox.Result) { r.Clock, r.RetryAfter = 1754583653, r.RetryIn },
		func(r *outbox.Result) {
			r.Clock, r.Status, r.FailureReason, r.RetryIn = 1754583654, outbox.Failed, "exhausted", 0
		},
		func(r *outbox.Result) {
			r.Clock, r.Address, r.FirstByte = 1754583655, netip.MustParseAddr("192.0.2.1"), 5*time.Millisecond
			r.Status, r.HTTPStatus, r.Reason, r.Error, r.RetryIn = outbox.Sent, 200, "", "", 0
		},
	} {
		c := claim(t, h.db, 1)[0]
		id = c.DeliveryID
		r := retrying(c, 90*time.Second)
		change(&r)
		settle(t, h.db, r)
		_, _ = h.Retry(t.Context(), id) // of the last one it is refused: it is sent
	}
	log, err := h.Attempts(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	type told struct {
		Clock                        int64
		Address                      string
		DNS, Connect, TLS, FirstByte float64
		Outcome                      outbox.Status
		In, After                    float64
	}
	var got []told
	for _, a := range log.Attempts {
		got = append(got, told{or(a.Clock), or(a.Address), or(a.DNSMS), or(a.ConnectMS), or(a.TLSMS), or(a.FirstByteMS), a.Outcome, or(a.RetryIn), or(a.RetryAfter)})
	}
	want := []told{
		{1754583652, "2001:db8::1", 1, 2, 3, 4, outbox.Retrying, 90, -1},
		{1754583653, "-", -1, -1, -1, -1, outbox.Retrying, 90, 90},
		{1754583654, "-", -1, -1, -1, -1, outbox.Failed, -1, -1},
		{1754583655, "192.0.2.1", -1, -1, -1, 5, outbox.Sent, -1, -1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// or is what there is, or something that cannot be: -1, or "-".
func or[T int64 | float64 | string](v *T) T {
	if v != nil {
		return *v
	}
	var none any = *new(T)
	switch none.(type) {
	case string:
		none = "-"
	case float64:
		none = -1.0
	default:
		none = int64(-1)
	}
	return none.(T)
}

// A dispatcher of the version before runs on while the database is brought forward.
func TestResultsOfTheVersionBeforeAreRecorded(t *testing.T) {
	t.Parallel()
	h := newHands(t)
	endpoint(t, h.db, target{MaxRetries: 1})
	publish(t, h.db, organization(t, h.db), 1)
	c := claim(t, h.db, 1)[0]
	low, high := uuid.Nil, uuid.Max
	exec(t, h.db, `SELECT sonicus.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		pq.Array([]uuid.UUID{c.DeliveryID}), pq.Int64Array{c.Token}, pq.Int64Array{1}, pq.StringArray{"retrying"}, pq.StringArray{""}, pq.Int64Array{60_000},
		pq.Float64Array{1}, pq.Float64Array{1}, pq.Int64Array{503}, pq.StringArray{"unexpected_status"}, pq.StringArray{"receiver answered 503"},
		pq.Array([]*string{nil}), pq.StringArray{""}, pq.BoolArray{false}, pq.BoolArray{false}, "old", low, high)
	booksAgree(t, h.db)
	d, err := h.Get(t.Context(), c.DeliveryID)
	if err != nil || len(d.Log.Attempts) != 1 || d.Log.Attempts[0].Outcome != outbox.Retrying || d.Next.Because != "schedule" {
		t.Errorf("%+v, %v", d, err)
	}
}
