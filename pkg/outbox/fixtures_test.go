package outbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// target is an endpoint row as far as the outbox looks at it.
type target struct {
	Organization uuid.NullUUID
	Events       string // JSON array, default all organization events
	Inactive     bool
	Paused       bool
	Deleted      bool
	MaxRetries   int
	Timeout      int // default 10
	Concurrency  int // default no limit of its own
	Ordered      bool
}

// endpoint stores a target and returns its id.
func endpoint(t *testing.T, db *sqlx.DB, e target) uuid.UUID {
	t.Helper()
	id := uuid.New()
	if e.Events == "" {
		e.Events = `["organization.*"]`
	}
	if e.Timeout == 0 {
		e.Timeout = 10
	}
	exec(t, db, `INSERT INTO sonicus.endpoints
		(id, url, name, organization_id, events, is_active, paused_at, deleted_at, max_retries, timeout_seconds, max_concurrency, ordering, created_at, updated_at)
		VALUES ($1, 'http://127.0.0.1:1/', 'test', $2, $3, NOT $4, CASE WHEN $5 THEN now() END, CASE WHEN $6 THEN now() END, $7, $8, nullif($9, 0), CASE WHEN $10 THEN 'organization' ELSE 'none' END, now(), now())`,
		id, e.Organization, postgres.JSON(e.Events), e.Inactive, e.Paused, e.Deleted, e.MaxRetries, e.Timeout, e.Concurrency, e.Ordered)
	return id
}

// organization stores an organization without an event.
func organization(t *testing.T, db *sqlx.DB) uuid.UUID {
	t.Helper()
	id := uuid.New()
	exec(t, db, `INSERT INTO sonicus.organizations
		(id, name, display_name, domain, primary_contact_email, subscription_tier, subscription_status, max_users, created_at, updated_at)
		VALUES ($1::uuid, 'n', 'n', $1::uuid::text, 'a@b.example', 'starter', 'active', 1, now(), now())`, id)
	return id
}

// created makes an organization.created event.
func created(t *testing.T, organization uuid.UUID, at time.Time) event.Envelope {
	t.Helper()
	ev, err := event.NewOrganizationCreated(postgres.NewID(at), at, event.Organization{ID: organization, Name: "R&D <Größe>", CreatedAt: event.Timestamp(at)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// publish commits n events and returns them: organization.created, and then
// others of the family.
func publish(t *testing.T, db *sqlx.DB, organization uuid.UUID, n int) []event.Envelope {
	t.Helper()
	var events []event.Envelope
	inTx(t, db, func(tx *sqlx.Tx, now time.Time) error {
		for range n {
			ev := created(t, organization, now)
			if len(events) > 0 {
				ev.Type = "organization.updated"
			}
			if _, err := outbox.Publish(t.Context(), tx, ev); err != nil {
				return err
			}
			events = append(events, ev)
		}
		return nil
	})
	return events
}

// claim takes up to total deliveries from all lanes that have some.
func claim(t *testing.T, db *sqlx.DB, total int) []outbox.Claimed {
	t.Helper()
	work, err := outbox.Sweep(t.Context(), db, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []outbox.Claimed
	for _, w := range work {
		claimed, _ := ask(t, db, outbox.Ask{Lane: w.Lane, Since: w.Since, Most: total - len(all)})
		all = append(all, claimed...)
	}
	return all
}

// ask claims from the lanes named, and from no others.
func ask(t *testing.T, db *sqlx.DB, asks ...outbox.Ask) ([]outbox.Claimed, []outbox.Visit) {
	t.Helper()
	claimed, visits, err := outbox.Claim(t.Context(), db, asks)
	if err != nil {
		t.Fatal(err)
	}
	return claimed, visits
}

// first is an Ask for first attempts, and again one for retries.
func first(endpoint uuid.UUID, most int) outbox.Ask {
	return outbox.Ask{Lane: outbox.Lane{EndpointID: endpoint}, Most: most}
}

func again(endpoint uuid.UUID, most int) outbox.Ask {
	return outbox.Ask{Lane: outbox.Lane{EndpointID: endpoint, Retry: true}, Most: most}
}

// settle applies results and returns the late ones.
func settle(t *testing.T, db *sqlx.DB, results ...outbox.Result) (late []uuid.UUID) {
	t.Helper()
	inTx(t, db, func(tx *sqlx.Tx, _ time.Time) (err error) {
		late, err = outbox.Settle(t.Context(), tx, "test", results)
		return err
	})
	return late
}

func sent(c outbox.Claimed) outbox.Result {
	return outbox.Result{Claimed: c, StartedAt: time.Now(), Took: time.Millisecond, HTTPStatus: 204, Status: outbox.Sent}
}

func retrying(c outbox.Claimed, in time.Duration) outbox.Result {
	return outbox.Result{
		Claimed: c, StartedAt: time.Now(), HTTPStatus: 503, Reason: "unexpected_status", Error: "receiver answered 503",
		ResponseBody: "busy", ResponseHeaders: `{"Content-Type":"text/plain"}`, Status: outbox.Retrying, RetryIn: in,
	}
}

func failed(c outbox.Claimed, reason string) outbox.Result {
	return outbox.Result{Claimed: c, StartedAt: time.Now(), Reason: "timeout", Error: "timed out", Status: outbox.Failed, FailureReason: reason}
}

// endLeases makes every lease end now, as time would.
func endLeases(t *testing.T, db *sqlx.DB) {
	t.Helper()
	exec(t, db, `UPDATE sonicus.queue SET lease_until = clock_timestamp() - interval '1 millisecond' WHERE lease_token IS NOT NULL`)
}

func inTx(t *testing.T, db *sqlx.DB, fn func(*sqlx.Tx, time.Time) error) {
	t.Helper()
	if err := postgres.InTx(t.Context(), db, fn); err != nil {
		t.Fatal(err)
	}
}

func exec(t *testing.T, db *sqlx.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), query, args...); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, db *sqlx.DB, from string, args ...any) int {
	t.Helper()
	var n int
	if err := db.GetContext(t.Context(), &n, `SELECT count(*) FROM `+from, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

// booksAgreeBut is booksAgree without a rule that the test breaks on purpose.
func booksAgreeBut(t *testing.T, db *sqlx.DB, rule string) {
	t.Helper()
	broken, err := outbox.Verify(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range broken {
		if v.Invariant != rule {
			t.Errorf("broken: %s: %d, for example %s", v.Invariant, v.Count, v.Example)
		}
	}
}

// booksAgree fails the test when an invariant is broken.
func booksAgree(t *testing.T, db *sqlx.DB) {
	t.Helper()
	booksAgreeBut(t, db, "")
}
