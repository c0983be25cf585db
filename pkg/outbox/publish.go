package outbox

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// publish writes the event, one delivery per endpoint that gets it now, and the
// queue rows of those that want no order. The ids follow from the event, so a
// second run writes nothing. due_at is the clock's, not the transaction's: due
// times must not tie.
//
// Endpoints that the event concerns and that do not get it are recorded beside it,
// with the reason: what they will be like later says nothing of now. The payload is
// parsed only when an endpoint has a filter. A test ($8) concerns every endpoint and
// passes every filter.
//
// Tests, and events about the service itself, go to no endpoint of an organization that
// is deleted: it has got organization.deleted, and no business event can follow that.
//
// id is sonicus.delivery_id($1, endpoint_id, 1) written out, with what of it is
// the event's as $7: Postgres cannot inline that function.
const publish = `candidate AS MATERIALIZED (
    SELECT e.id AS endpoint_id, 1 + e.max_retries AS max_attempts, e.ordering = 'organization' AND $3::uuid IS NOT NULL AND $2 NOT LIKE 'webhook.%' AS ordered,
           CASE WHEN ($8 OR $2 LIKE 'webhook.%') AND e.organization_id IS NOT NULL
                     AND EXISTS (SELECT FROM sonicus.organizations o WHERE o.id = e.organization_id AND o.deleted_at IS NOT NULL) THEN 'inactive'
                WHEN NOT ($8 AND s.why LIKE 'filter.%') THEN s.why END AS skipped
    FROM sonicus.endpoints e CROSS JOIN LATERAL (SELECT sonicus.skipped(e, $6::jsonb[], (SELECT sonicus.document($4))) AS why) s
    WHERE sonicus.concerns(e, $3) OR ($8 AND e.deleted_at IS NULL)
), published AS (
    INSERT INTO sonicus.events (id, event_type, organization_id, payload, created_at, test, fanout, skipped_inactive, skipped_event_type, skipped_filter)
    SELECT $1, $2, $3, $4, $5, $8, count(*) FILTER (WHERE c.skipped IS NULL), array_agg(c.endpoint_id) FILTER (WHERE c.skipped = 'inactive'),
           array_agg(c.endpoint_id) FILTER (WHERE c.skipped = 'event_type'), json_object_agg(c.endpoint_id, c.skipped) FILTER (WHERE c.skipped LIKE 'filter.%')
    FROM candidate c
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), new AS MATERIALIZED (
    SELECT ($7 || substr(h, 1, 3) || translate(substr(h, 4, 1), '0123456789abcdef', '89ab89ab89ab89ab') || substr(h, 5, 15))::uuid AS id,
           c.endpoint_id, c.max_attempts, c.ordered
    FROM published p, candidate c CROSS JOIN LATERAL (SELECT md5($1::uuid::text || c.endpoint_id::text || '1') AS h) h
    WHERE c.skipped IS NULL
), written AS (
    INSERT INTO sonicus.deliveries (id, event_id, endpoint_id, event_type, max_attempts, created_at)
    SELECT n.id, $1, n.endpoint_id, $2, n.max_attempts, $5 FROM new n
), queued AS (
    INSERT INTO sonicus.queue (delivery_id, endpoint_id, due_at)
    SELECT n.id, n.endpoint_id, clock_timestamp() FROM new n WHERE NOT n.ordered
)
SELECT n.endpoint_id, n.ordered FROM new n`

// follow queues the deliveries to endpoints that want those of an organization
// one after another. A row that has another before it waits for that to be done;
// see [takeTurns].
const follow = `
INSERT INTO sonicus.queue (delivery_id, endpoint_id, organization_id, position, due_at)
SELECT sonicus.delivery_id($1, e.id, 1), e.id, $2, nextval('sonicus.queue_position'),
       CASE WHEN NOT EXISTS (SELECT FROM sonicus.queue q
                             WHERE q.endpoint_id = e.id AND q.organization_id = $2 AND q.position IS NOT NULL) THEN clock_timestamp() END
FROM unnest($3::uuid[]) AS e (id)`

// A Statement publishes events; see [With].
type Statement struct{ text string }

// With makes the statement that publishes an event and does, in the same round
// trip, what the event is about: change is an INSERT, UPDATE or DELETE of the
// caller's own tables, whose placeholders count from $1. The event does not go to
// endpoints that change itself makes. A constraint that change violates comes back
// as an error of Publish. When the event is there already, change still happens.
func With(change string) Statement {
	return Statement{"WITH change AS (" + placeholder.ReplaceAllStringFunc(change, func(p string) string {
		n, _ := strconv.Atoi(p[1:]) // digits only
		return "$" + strconv.Itoa(n+ownArguments)
	}) + "), " + publish}
}

// ownArguments is how many placeholders publish has.
const ownArguments = 8

var (
	placeholder = regexp.MustCompile(`\$[0-9]+`)
	alone       = Statement{"WITH " + publish}
)

// Publish writes ev and a pending delivery for every active endpoint subscribed
// to it; a test goes to those of all organizations, whatever their filter. They become visible to the dispatchers when tx commits, and never if it
// does not. It returns the endpoints that it wrote deliveries for, to be hinted
// at after the commit (see [Hinter]); publishing the same event again writes none.
//
// Endpoints with the ordering "organization" get what is published about one
// organization in the order of the commits: the second transaction waits here for
// the first. One that publishes about several organizations should do so in the
// order of their ids, as those who settle do, or two of them may deadlock.
func Publish(ctx context.Context, tx *sqlx.Tx, ev event.Envelope) ([]uuid.UUID, error) {
	return alone.Publish(ctx, tx, ev)
}

// Publish is the function of this name together with the change of [With], which
// gets args.
func (s Statement) Publish(ctx context.Context, tx *sqlx.Tx, ev event.Envelope, args ...any) ([]uuid.UUID, error) {
	all := append([]any{ev.ID, ev.Type, ev.OrganizationID, postgres.JSON(ev.Payload), ev.Time, patterns(ev.Type), prefix(ev.ID), ev.Test}, args...)
	var written []struct {
		EndpointID uuid.UUID `db:"endpoint_id"`
		Ordered    bool      `db:"ordered"`
	}
	if err := tx.SelectContext(ctx, &written, s.text, all...); err != nil {
		return nil, fmt.Errorf("publish %s: %w", ev.Type, err)
	}
	var (
		endpoints []uuid.UUID
		ordered   pq.StringArray
	)
	for _, w := range written {
		endpoints = append(endpoints, w.EndpointID)
		if w.Ordered {
			ordered = append(ordered, w.EndpointID.String())
		}
	}
	if len(ordered) > 0 {
		if err := takeTurns(ctx, tx, *ev.OrganizationID); err != nil {
			return nil, fmt.Errorf("publish %s in order: %w", ev.Type, err)
		}
		if _, err := tx.ExecContext(ctx, follow, ev.ID, ev.OrganizationID, ordered); err != nil {
			return nil, fmt.Errorf("publish %s in order: %w", ev.Type, err)
		}
	}
	return endpoints, nil
}

// prefix is how the ids of all deliveries of an event begin: with its time, and
// the version of a uuidv7.
func prefix(event uuid.UUID) string { return hex.EncodeToString(event[:6]) + "7" }

// patterns renders the patterns that match an event type as JSON strings.
func patterns(eventType string) pq.StringArray {
	all := event.Patterns(eventType)
	for i, p := range all {
		quoted, _ := json.Marshal(p) // a string always encodes
		all[i] = string(quoted)
	}
	return all
}
