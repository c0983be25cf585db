package dispatch

import (
	"context"
	"testing"
)

func TestAbandoningSurvivesFaults(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:9/")
	b.exec(t, `CREATE SEQUENCE sonicus.faults`)
	b.exec(t, `CREATE FUNCTION sonicus.fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('sonicus.faults'); RAISE 'disk full'; END $$`)
	b.exec(t, `CREATE TRIGGER fault BEFORE DELETE ON sonicus.queue FOR EACH ROW EXECUTE FUNCTION sonicus.fault()`)
	b.publish(t, 3)
	b.exec(t, `UPDATE sonicus.endpoints SET deleted_at = now()`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, context.Background()) }()
	eventually(t, "two failures", func() bool { return b.count(t, `(SELECT FROM sonicus.faults WHERE last_value >= 2) f`) == 1 })
	b.exec(t, `DROP TRIGGER fault ON sonicus.queue`)
	eventually(t, "an empty queue", func() bool { return b.count(t, `sonicus.queue`) == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := b.count(t, `sonicus.deliveries WHERE failure_reason = 'endpoint_deleted' AND attempt_count = 0`); n != 3 {
		t.Errorf("%d of 3 ended", n)
	}
}

// A deleted endpoint has no secrets, but it had: what was claimed before must not
// go out unsigned.
func TestNothingIsSentToAnEndpointDeletedSinceTheClaim(t *testing.T) {
	t.Parallel()
	b := newBench(t, "http://127.0.0.1:9/")
	b.publish(t, 1)
	claimed := b.claimAll(t)
	b.exec(t, `UPDATE sonicus.endpoints SET deleted_at = now()`)
	if err := b.endpoints.refresh(t.Context(), claimed); err != nil {
		t.Fatal(err)
	}
	if _, made := b.try(t.Context(), claimed[0]); made {
		t.Error("an attempt was made")
	}
	if n := b.count(t, `sonicus.queue WHERE lease_token IS NULL`); n != 1 {
		t.Error("the lease was not given back")
	}
}
