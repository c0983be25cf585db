-- Owner of lanes and queue: pkg/outbox; of the new settings of an endpoint: pkg/endpoint.
--
-- A claim no longer moves a row's due time to the end of its lease: it writes
-- lease_until, which is in no index, so that claiming is a HOT update.

-- +goose Up
DROP VIEW sonicus.webhook_deliveries;
DROP VIEW sonicus.webhook_endpoints;

-- The foreign key took half of what a delivery adds to a create (50 µs, measured);
-- both rows come from one statement, and dispatcher verify checks the rule.
DROP INDEX sonicus.queue_lane_idx;
ALTER TABLE sonicus.queue
    DROP CONSTRAINT queue_delivery_id_fkey,
    ADD lease_until     timestamptz,
    ADD retry           boolean NOT NULL DEFAULT false,
    ADD organization_id uuid,
    ADD position        bigint,
    ALTER due_at DROP NOT NULL,
    ADD CONSTRAINT queue_order_check CHECK ((position IS NULL) = (organization_id IS NULL) AND (due_at IS NOT NULL OR position IS NOT NULL)),
    SET (fillfactor = 40);
UPDATE sonicus.queue q
SET lease_until = CASE WHEN q.lease_token IS NOT NULL THEN q.due_at END, retry = d.status = 'retrying'
FROM sonicus.deliveries d
WHERE d.id = q.delivery_id;
ALTER TABLE sonicus.queue
    ADD CONSTRAINT queue_lease_check CHECK ((lease_token IS NULL) = (lease_until IS NULL) AND isfinite(lease_until));
CREATE INDEX queue_lane_idx ON sonicus.queue (retry, endpoint_id, due_at);
CREATE UNIQUE INDEX queue_order_idx ON sonicus.queue (endpoint_id, organization_id, position) WHERE position IS NOT NULL;
CREATE SEQUENCE sonicus.queue_position AS bigint;

COMMENT ON COLUMN sonicus.queue.due_at IS 'When it may be claimed; NULL: when the delivery before it is done (ordering by organization).';
COMMENT ON COLUMN sonicus.queue.lease_token IS 'Set while a dispatcher holds the row; a result is applied only under the token it was claimed with.';
COMMENT ON COLUMN sonicus.queue.lease_until IS 'End of the lease: then the row may be claimed again, by anyone.';
COMMENT ON COLUMN sonicus.queue.retry IS 'A retry, or a first attempt: two lanes for each endpoint, so that retries hold up nothing new.';
COMMENT ON COLUMN sonicus.queue.organization_id IS 'Set when the endpoint wants the deliveries of an organization one after another.';
COMMENT ON COLUMN sonicus.queue.position IS 'Place among the deliveries of the organization to the endpoint; NULL: in no order.';
COMMENT ON SEQUENCE sonicus.queue_position IS 'Gives queue.position.';

ALTER TABLE sonicus.attempts ADD took_over boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sonicus.attempts.took_over IS 'An earlier lease had ended without a result, so the receiver may have been sent this before: a possible duplicate.';
-- Partitions that exist have comments of their own.
-- +goose StatementBegin
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'sonicus.attempts'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.took_over IS %L', part,
                       'An earlier lease had ended without a result, so the receiver may have been sent this before: a possible duplicate.');
    END LOOP;
END
$$;
-- +goose StatementEnd

CREATE TABLE sonicus.lanes (
    endpoint_id     uuid        NOT NULL,
    breaker_state   text        NOT NULL DEFAULT 'closed',
    breaker_until   timestamptz,
    failures        integer     NOT NULL DEFAULT 0,
    openings        integer     NOT NULL DEFAULT 0,
    failing_since   timestamptz,
    recovering_since timestamptz,
    paced_until     timestamptz,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    CONSTRAINT lanes_pkey PRIMARY KEY (endpoint_id),
    CONSTRAINT lanes_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES sonicus.endpoints (id) ON DELETE CASCADE,
    CONSTRAINT lanes_breaker_state_check CHECK (breaker_state IN ('closed', 'open', 'half_open')),
    CONSTRAINT lanes_breaker_until_check CHECK ((breaker_state = 'closed') = (breaker_until IS NULL) AND isfinite(breaker_until))
) WITH (fillfactor = 50);
INSERT INTO sonicus.lanes (endpoint_id, last_success_at, last_failure_at)
SELECT id, last_success_at, last_failure_at FROM sonicus.endpoints;

-- An endpoint without its lane would never be sent to, so whoever inserts the
-- one has the other.
-- +goose StatementBegin
CREATE FUNCTION sonicus.open_lane() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO sonicus.lanes (endpoint_id) VALUES (NEW.id);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER endpoints_open_lane AFTER INSERT ON sonicus.endpoints FOR EACH ROW EXECUTE FUNCTION sonicus.open_lane();

ALTER TABLE sonicus.endpoints
    DROP COLUMN breaker_state,
    DROP COLUMN breaker_until,
    DROP COLUMN last_success_at,
    DROP COLUMN last_failure_at,
    ADD ordering               text NOT NULL DEFAULT 'none',
    ADD breaker_failures       integer,
    ADD breaker_max_open_seconds integer,
    ADD CONSTRAINT endpoints_ordering_check CHECK (ordering IN ('none', 'organization')),
    ADD CONSTRAINT endpoints_breaker_failures_check CHECK (breaker_failures >= 0),
    ADD CONSTRAINT endpoints_breaker_max_open_seconds_check CHECK (breaker_max_open_seconds >= 1),
    SET (fillfactor = 100);

ALTER TABLE sonicus.events ALTER organization_id DROP NOT NULL;
COMMENT ON COLUMN sonicus.events.organization_id IS 'The organization that the event is about; NULL for events of the service itself (webhook.*).';

COMMENT ON TABLE sonicus.lanes IS 'How sending to an endpoint goes, one row for each: circuit breaker, pace, last results. Shared by all dispatchers.';
COMMENT ON COLUMN sonicus.lanes.endpoint_id IS 'The endpoint.';
COMMENT ON COLUMN sonicus.lanes.breaker_state IS 'closed: sending; open: nothing is claimed; half_open: one delivery is on its way as a probe.';
COMMENT ON COLUMN sonicus.lanes.breaker_until IS 'When an open breaker lets a probe through, or when a probe that nobody answered for is given up.';
COMMENT ON COLUMN sonicus.lanes.failures IS 'Failed attempts since the last success, over all dispatchers.';
COMMENT ON COLUMN sonicus.lanes.openings IS 'Times the breaker has opened since the last success; each waits twice as long.';
COMMENT ON COLUMN sonicus.lanes.failing_since IS 'First failed attempt since the last success, NULL while all is well.';
COMMENT ON COLUMN sonicus.lanes.recovering_since IS 'When the breaker closed after having been open; the pace grows from then on, NULL: full pace.';
COMMENT ON COLUMN sonicus.lanes.paced_until IS 'Attempts up to here are given out: the next may begin then (rate limit, recovery).';
COMMENT ON COLUMN sonicus.lanes.last_success_at IS 'Last 2xx answer, exact to about a second.';
COMMENT ON COLUMN sonicus.lanes.last_failure_at IS 'Last failed attempt, exact to about a second.';
COMMENT ON FUNCTION sonicus.open_lane IS 'Gives every new endpoint its row in lanes.';
COMMENT ON COLUMN sonicus.endpoints.ordering IS 'none, or organization: the deliveries of one organization are sent one after another, in the order of publishing.';
COMMENT ON COLUMN sonicus.endpoints.breaker_failures IS 'Failures in a row that open the breaker; 0: never, NULL: as the dispatcher is set.';
COMMENT ON COLUMN sonicus.endpoints.breaker_max_open_seconds IS 'Longest time between two probes, NULL: as the dispatcher is set.';
COMMENT ON COLUMN sonicus.endpoints.disabled_reason IS 'Why the service switched it off (gone: the receiver answered 410; failing: nothing but failures for days), NULL otherwise.';

CREATE VIEW sonicus.webhook_endpoints AS
SELECT e.id,
       e.url,
       CASE WHEN e.secret IS NOT NULL THEN '********' || e.secret_last4 END AS secret_key,
       e.events,
       e.is_active,
       e.organization_id,
       e.timeout_seconds,
       e.max_retries,
       e.name,
       e.description,
       e.created_at,
       e.updated_at,
       (SELECT l.last_success_at FROM sonicus.lanes l WHERE l.endpoint_id = e.id) AS last_success_at,
       (SELECT l.last_failure_at FROM sonicus.lanes l WHERE l.endpoint_id = e.id) AS last_failure_at,
       e.disabled_reason,
       e.disabled_at,
       e.paused_at,
       (SELECT l.breaker_state FROM sonicus.lanes l WHERE l.endpoint_id = e.id) AS breaker_state,
       (SELECT l.breaker_until FROM sonicus.lanes l WHERE l.endpoint_id = e.id) AS breaker_until,
       (SELECT l.failing_since FROM sonicus.lanes l WHERE l.endpoint_id = e.id) AS failing_since,
       e.rate_limit,
       e.max_concurrency,
       e.ordering,
       e.breaker_failures,
       e.breaker_max_open_seconds
FROM sonicus.endpoints e
WHERE e.deleted_at IS NULL;

CREATE VIEW sonicus.webhook_deliveries AS
SELECT d.id,
       d.endpoint_id,
       d.event_type,
       d.event_id,
       (SELECT v.payload FROM sonicus.events v WHERE v.id = d.event_id) AS payload,
       d.status,
       d.http_status_code,
       (SELECT a.response_body FROM sonicus.attempts a WHERE a.delivery_id = d.id AND a.number = d.attempt_count) AS response_body,
       (SELECT a.response_headers FROM sonicus.attempts a WHERE a.delivery_id = d.id AND a.number = d.attempt_count) AS response_headers,
       d.error_message,
       d.attempt_count,
       d.max_attempts,
       d.created_at,
       d.last_attempt_at,
       d.delivered_at,
       d.failure_reason,
       d.generation,
       (SELECT greatest(q.due_at, q.lease_until) FROM sonicus.queue q WHERE q.delivery_id = d.id) AS next_attempt_at
FROM sonicus.deliveries d;

COMMENT ON VIEW sonicus.webhook_endpoints IS 'Registered webhook endpoints, without secrets.';
COMMENT ON COLUMN sonicus.webhook_endpoints.id IS 'UUID.';
COMMENT ON COLUMN sonicus.webhook_endpoints.url IS 'Webhook endpoint URL.';
COMMENT ON COLUMN sonicus.webhook_endpoints.secret_key IS 'Masked: eight stars and the last four characters; NULL when the endpoint has no secret.';
COMMENT ON COLUMN sonicus.webhook_endpoints.events IS 'JSON array of the event types to send.';
COMMENT ON COLUMN sonicus.webhook_endpoints.is_active IS 'Enabled or disabled.';
COMMENT ON COLUMN sonicus.webhook_endpoints.organization_id IS 'Organization-specific webhook; NULL: global.';
COMMENT ON COLUMN sonicus.webhook_endpoints.timeout_seconds IS 'Request timeout in seconds.';
COMMENT ON COLUMN sonicus.webhook_endpoints.max_retries IS 'Retries after the first attempt.';
COMMENT ON COLUMN sonicus.webhook_endpoints.name IS 'Human-readable name.';
COMMENT ON COLUMN sonicus.webhook_endpoints.description IS 'Description.';
COMMENT ON COLUMN sonicus.webhook_endpoints.created_at IS 'When it was registered.';
COMMENT ON COLUMN sonicus.webhook_endpoints.updated_at IS 'When its settings were last changed.';
COMMENT ON COLUMN sonicus.webhook_endpoints.last_success_at IS 'Last 2xx answer, exact to about a second.';
COMMENT ON COLUMN sonicus.webhook_endpoints.last_failure_at IS 'Last failed attempt, exact to about a second.';
COMMENT ON COLUMN sonicus.webhook_endpoints.disabled_reason IS 'Why the service switched it off, for example gone (410); NULL otherwise.';
COMMENT ON COLUMN sonicus.webhook_endpoints.disabled_at IS 'When the service switched it off.';
COMMENT ON COLUMN sonicus.webhook_endpoints.paused_at IS 'Set: events are queued for it, nothing is sent.';
COMMENT ON COLUMN sonicus.webhook_endpoints.breaker_state IS 'closed; open: nothing is sent; half_open: one probe is on its way.';
COMMENT ON COLUMN sonicus.webhook_endpoints.breaker_until IS 'When an open breaker lets the next probe through.';
COMMENT ON COLUMN sonicus.webhook_endpoints.failing_since IS 'First failed attempt since the last success; NULL while all is well.';
COMMENT ON COLUMN sonicus.webhook_endpoints.rate_limit IS 'Attempts per second over all dispatchers; NULL: no limit.';
COMMENT ON COLUMN sonicus.webhook_endpoints.max_concurrency IS 'Attempts in flight per dispatcher; NULL: the dispatcher''s own limit.';
COMMENT ON COLUMN sonicus.webhook_endpoints.ordering IS 'none, or organization: one delivery of an organization after another.';
COMMENT ON COLUMN sonicus.webhook_endpoints.breaker_failures IS 'Failures in a row that open the breaker; 0: never, NULL: as the dispatcher is set.';
COMMENT ON COLUMN sonicus.webhook_endpoints.breaker_max_open_seconds IS 'Longest time between two probes, NULL: as the dispatcher is set.';

COMMENT ON VIEW sonicus.webhook_deliveries IS 'Every delivery with its state; payload and answer are read only when selected.';
COMMENT ON COLUMN sonicus.webhook_deliveries.id IS 'UUID; sent as X-Sonicus-Delivery-ID.';
COMMENT ON COLUMN sonicus.webhook_deliveries.endpoint_id IS 'Reference to webhook_endpoints.';
COMMENT ON COLUMN sonicus.webhook_deliveries.event_type IS 'Type of the event sent.';
COMMENT ON COLUMN sonicus.webhook_deliveries.event_id IS 'Unique identifier of the event; the same for all its deliveries.';
COMMENT ON COLUMN sonicus.webhook_deliveries.payload IS 'JSON payload sent, byte for byte.';
COMMENT ON COLUMN sonicus.webhook_deliveries.status IS 'pending, sent, failed or retrying.';
COMMENT ON COLUMN sonicus.webhook_deliveries.http_status_code IS 'Status code of the last answer.';
COMMENT ON COLUMN sonicus.webhook_deliveries.response_body IS 'Body of the last answer, first 4 KiB.';
COMMENT ON COLUMN sonicus.webhook_deliveries.response_headers IS 'Selected headers of the last answer, a JSON object.';
COMMENT ON COLUMN sonicus.webhook_deliveries.error_message IS 'What went wrong in the last attempt; NULL after a success.';
COMMENT ON COLUMN sonicus.webhook_deliveries.attempt_count IS 'Requests made so far.';
COMMENT ON COLUMN sonicus.webhook_deliveries.max_attempts IS 'Requests made at the most: 1 + max_retries.';
COMMENT ON COLUMN sonicus.webhook_deliveries.created_at IS 'When it was written, in the transaction of its event.';
COMMENT ON COLUMN sonicus.webhook_deliveries.last_attempt_at IS 'Start of the last attempt.';
COMMENT ON COLUMN sonicus.webhook_deliveries.delivered_at IS 'When a 2xx answer came.';
COMMENT ON COLUMN sonicus.webhook_deliveries.failure_reason IS 'Why it was given up: exhausted, gone, blocked_address, …; NULL unless failed.';
COMMENT ON COLUMN sonicus.webhook_deliveries.generation IS '1; replays count up.';
COMMENT ON COLUMN sonicus.webhook_deliveries.next_attempt_at IS 'When it is due, or while it is in flight the end of the lease; NULL when there is nothing left to do, or another has to be done first (ordering).';

-- +goose Down
DROP VIEW sonicus.webhook_deliveries;
DROP VIEW sonicus.webhook_endpoints;

DELETE FROM sonicus.events WHERE organization_id IS NULL AND NOT EXISTS (SELECT FROM sonicus.deliveries d WHERE d.event_id = events.id);
UPDATE sonicus.events SET organization_id = '00000000-0000-0000-0000-000000000000' WHERE organization_id IS NULL;
ALTER TABLE sonicus.events ALTER organization_id SET NOT NULL;
COMMENT ON COLUMN sonicus.events.organization_id IS 'The organization that the event is about.';

ALTER TABLE sonicus.endpoints
    DROP COLUMN ordering,
    DROP COLUMN breaker_failures,
    DROP COLUMN breaker_max_open_seconds,
    ADD breaker_state   text NOT NULL DEFAULT 'closed',
    ADD breaker_until   timestamptz,
    ADD last_success_at timestamptz,
    ADD last_failure_at timestamptz,
    ADD CONSTRAINT endpoints_breaker_state_check CHECK (breaker_state IN ('closed', 'open', 'half_open')),
    SET (fillfactor = 50);
UPDATE sonicus.endpoints e SET last_success_at = l.last_success_at, last_failure_at = l.last_failure_at
FROM sonicus.lanes l WHERE l.endpoint_id = e.id;
COMMENT ON COLUMN sonicus.endpoints.breaker_state IS 'closed, open or half_open.';
COMMENT ON COLUMN sonicus.endpoints.breaker_until IS 'When an open breaker lets a probe through.';
COMMENT ON COLUMN sonicus.endpoints.last_success_at IS 'Last 2xx answer, exact to about a second.';
COMMENT ON COLUMN sonicus.endpoints.last_failure_at IS 'Last failed attempt, exact to about a second.';
COMMENT ON COLUMN sonicus.endpoints.disabled_reason IS 'Why the service switched it off (gone: the receiver answered 410), NULL otherwise.';

DROP TRIGGER endpoints_open_lane ON sonicus.endpoints;
DROP FUNCTION sonicus.open_lane;
DROP TABLE sonicus.lanes;
ALTER TABLE sonicus.attempts DROP COLUMN took_over;

DROP INDEX sonicus.queue_order_idx;
DROP INDEX sonicus.queue_lane_idx;
UPDATE sonicus.queue SET due_at = coalesce(greatest(due_at, lease_until), clock_timestamp());
ALTER TABLE sonicus.queue
    DROP COLUMN lease_until,
    DROP COLUMN retry,
    DROP COLUMN organization_id,
    DROP COLUMN position,
    ALTER due_at SET NOT NULL,
    ADD CONSTRAINT queue_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES sonicus.deliveries (id),
    RESET (fillfactor);
DROP SEQUENCE sonicus.queue_position;
CREATE INDEX queue_lane_idx ON sonicus.queue (endpoint_id, due_at);
COMMENT ON COLUMN sonicus.queue.due_at IS 'When it may be claimed; while it is claimed, the end of the lease.';

CREATE VIEW sonicus.webhook_endpoints AS
SELECT e.id,
       e.url,
       CASE WHEN e.secret IS NOT NULL THEN '********' || e.secret_last4 END AS secret_key,
       e.events,
       e.is_active,
       e.organization_id,
       e.timeout_seconds,
       e.max_retries,
       e.name,
       e.description,
       e.created_at,
       e.updated_at,
       e.last_success_at,
       e.last_failure_at,
       e.disabled_reason,
       e.disabled_at,
       e.paused_at,
       e.breaker_state
FROM sonicus.endpoints e
WHERE e.deleted_at IS NULL;

CREATE VIEW sonicus.webhook_deliveries AS
SELECT d.id,
       d.endpoint_id,
       d.event_type,
       d.event_id,
       (SELECT v.payload FROM sonicus.events v WHERE v.id = d.event_id) AS payload,
       d.status,
       d.http_status_code,
       (SELECT a.response_body FROM sonicus.attempts a WHERE a.delivery_id = d.id AND a.number = d.attempt_count) AS response_body,
       (SELECT a.response_headers FROM sonicus.attempts a WHERE a.delivery_id = d.id AND a.number = d.attempt_count) AS response_headers,
       d.error_message,
       d.attempt_count,
       d.max_attempts,
       d.created_at,
       d.last_attempt_at,
       d.delivered_at,
       d.failure_reason,
       d.generation,
       (SELECT q.due_at FROM sonicus.queue q WHERE q.delivery_id = d.id) AS next_attempt_at
FROM sonicus.deliveries d;

COMMENT ON VIEW sonicus.webhook_endpoints IS 'Registered webhook endpoints, without secrets.';
COMMENT ON COLUMN sonicus.webhook_endpoints.id IS 'UUID.';
COMMENT ON COLUMN sonicus.webhook_endpoints.url IS 'Webhook endpoint URL.';
COMMENT ON COLUMN sonicus.webhook_endpoints.secret_key IS 'Masked: eight stars and the last four characters; NULL when the endpoint has no secret.';
COMMENT ON COLUMN sonicus.webhook_endpoints.events IS 'JSON array of the event types to send.';
COMMENT ON COLUMN sonicus.webhook_endpoints.is_active IS 'Enabled or disabled.';
COMMENT ON COLUMN sonicus.webhook_endpoints.organization_id IS 'Organization-specific webhook; NULL: global.';
COMMENT ON COLUMN sonicus.webhook_endpoints.timeout_seconds IS 'Request timeout in seconds.';
COMMENT ON COLUMN sonicus.webhook_endpoints.max_retries IS 'Retries after the first attempt.';
COMMENT ON COLUMN sonicus.webhook_endpoints.name IS 'Human-readable name.';
COMMENT ON COLUMN sonicus.webhook_endpoints.description IS 'Description.';
COMMENT ON COLUMN sonicus.webhook_endpoints.created_at IS 'When it was registered.';
COMMENT ON COLUMN sonicus.webhook_endpoints.updated_at IS 'When its settings were last changed.';
COMMENT ON COLUMN sonicus.webhook_endpoints.last_success_at IS 'Last 2xx answer, exact to about a second.';
COMMENT ON COLUMN sonicus.webhook_endpoints.last_failure_at IS 'Last failed attempt, exact to about a second.';
COMMENT ON COLUMN sonicus.webhook_endpoints.disabled_reason IS 'Why the service switched it off, for example gone (410); NULL otherwise.';
COMMENT ON COLUMN sonicus.webhook_endpoints.disabled_at IS 'When the service switched it off.';
COMMENT ON COLUMN sonicus.webhook_endpoints.paused_at IS 'Set: events are queued for it, nothing is sent.';
COMMENT ON COLUMN sonicus.webhook_endpoints.breaker_state IS 'closed, open or half_open.';

COMMENT ON VIEW sonicus.webhook_deliveries IS 'Every delivery with its state; payload and answer are read only when selected.';
COMMENT ON COLUMN sonicus.webhook_deliveries.id IS 'UUID; sent as X-Sonicus-Delivery-ID.';
COMMENT ON COLUMN sonicus.webhook_deliveries.endpoint_id IS 'Reference to webhook_endpoints.';
COMMENT ON COLUMN sonicus.webhook_deliveries.event_type IS 'Type of the event sent.';
COMMENT ON COLUMN sonicus.webhook_deliveries.event_id IS 'Unique identifier of the event; the same for all its deliveries.';
COMMENT ON COLUMN sonicus.webhook_deliveries.payload IS 'JSON payload sent, byte for byte.';
COMMENT ON COLUMN sonicus.webhook_deliveries.status IS 'pending, sent, failed or retrying.';
COMMENT ON COLUMN sonicus.webhook_deliveries.http_status_code IS 'Status code of the last answer.';
COMMENT ON COLUMN sonicus.webhook_deliveries.response_body IS 'Body of the last answer, first 4 KiB.';
COMMENT ON COLUMN sonicus.webhook_deliveries.response_headers IS 'Selected headers of the last answer, a JSON object.';
COMMENT ON COLUMN sonicus.webhook_deliveries.error_message IS 'What went wrong in the last attempt; NULL after a success.';
COMMENT ON COLUMN sonicus.webhook_deliveries.attempt_count IS 'Requests made so far.';
COMMENT ON COLUMN sonicus.webhook_deliveries.max_attempts IS 'Requests made at the most: 1 + max_retries.';
COMMENT ON COLUMN sonicus.webhook_deliveries.created_at IS 'When it was written, in the transaction of its event.';
COMMENT ON COLUMN sonicus.webhook_deliveries.last_attempt_at IS 'Start of the last attempt.';
COMMENT ON COLUMN sonicus.webhook_deliveries.delivered_at IS 'When a 2xx answer came.';
COMMENT ON COLUMN sonicus.webhook_deliveries.failure_reason IS 'Why it was given up: exhausted, gone, blocked_address, …; NULL unless failed.';
COMMENT ON COLUMN sonicus.webhook_deliveries.generation IS '1; replays count up.';
COMMENT ON COLUMN sonicus.webhook_deliveries.next_attempt_at IS 'When it is due, or while it is in flight the end of the lease; NULL when there is nothing left to do.';
