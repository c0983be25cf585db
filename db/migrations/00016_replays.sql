-- Owner: pkg/outbox.
--
-- A replay is a row that the dispatchers work off, one bounded transaction after
-- another. Where it has come to, how many deliveries it has made, and they themselves
-- are committed together: a crash loses and repeats nothing.

-- +goose Up
CREATE TABLE sonicus.replays (
    id              uuid        NOT NULL,
    mode            text        NOT NULL,
    endpoint_id     uuid,
    organization_id uuid,
    statuses        text[],
    event_types     text[],
    since           timestamptz NOT NULL,
    until           timestamptz NOT NULL,
    rate_limit      integer     NOT NULL,
    state           text        NOT NULL DEFAULT 'running',
    failure_reason  text,
    matched         bigint,
    created         bigint      NOT NULL DEFAULT 0,
    position        uuid        NOT NULL,
    paced_until     timestamptz NOT NULL,
    requested_by    text        NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    CONSTRAINT replays_pkey PRIMARY KEY (id),
    CONSTRAINT replays_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES sonicus.endpoints (id),
    CONSTRAINT replays_mode_check CHECK (mode IN ('failed', 'missing', 'all') AND (mode <> 'missing' OR endpoint_id IS NOT NULL)),
    CONSTRAINT replays_range_check CHECK (since < until AND until <= created_at),
    CONSTRAINT replays_rate_limit_check CHECK (rate_limit BETWEEN 1 AND 10000),
    CONSTRAINT replays_state_check CHECK (state IN ('running', 'paused', 'done', 'canceled', 'failed')),
    CONSTRAINT replays_failure_reason_check CHECK ((state = 'failed') = (failure_reason IS NOT NULL)),
    CONSTRAINT replays_finished_at_check CHECK ((state IN ('running', 'paused')) = (finished_at IS NULL))
);
CREATE INDEX replays_running_idx ON sonicus.replays (paced_until) WHERE state = 'running';

COMMENT ON TABLE sonicus.replays IS 'What administrators have asked to be sent again, and how far it is. Each delivery that came of it names it.';
COMMENT ON COLUMN sonicus.replays.id IS 'uuidv7.';
COMMENT ON COLUMN sonicus.replays.mode IS 'failed: deliveries that were given up; missing: events that were never delivered to the endpoint and match it now; all: whatever is over.';
COMMENT ON COLUMN sonicus.replays.endpoint_id IS 'The endpoint; NULL: all.';
COMMENT ON COLUMN sonicus.replays.organization_id IS 'Only events about this organization; NULL: all.';
COMMENT ON COLUMN sonicus.replays.statuses IS 'Only what has ended like this, sent or failed; NULL: as the mode says.';
COMMENT ON COLUMN sonicus.replays.event_types IS 'Only events of these types; NULL: all.';
COMMENT ON COLUMN sonicus.replays.since IS 'Only events from then on, to the millisecond.';
COMMENT ON COLUMN sonicus.replays.until IS 'Only events before then, to the millisecond; never later than created_at, so that it ends.';
COMMENT ON COLUMN sonicus.replays.rate_limit IS 'Deliveries that are made per second, over all dispatchers.';
COMMENT ON COLUMN sonicus.replays.state IS 'running; paused; done: all has been looked at; canceled; failed: see failure_reason.';
COMMENT ON COLUMN sonicus.replays.failure_reason IS 'Why it was given up: endpoint_deleted, or internal, of which the dispatcher''s log tells more; NULL unless failed.';
COMMENT ON COLUMN sonicus.replays.matched IS 'How many deliveries it was going to make when it was asked for; NULL: counting took too long.';
COMMENT ON COLUMN sonicus.replays.created IS 'How many it has made: as many in deliveries have its id.';
COMMENT ON COLUMN sonicus.replays.position IS 'What is up to here is done: the id of a delivery, or of an event for the mode missing.';
COMMENT ON COLUMN sonicus.replays.paced_until IS 'When the next deliveries may be made.';
COMMENT ON COLUMN sonicus.replays.requested_by IS 'Who asked for it, as in the audit trail.';
COMMENT ON COLUMN sonicus.replays.created_at IS 'Transaction time; what has been published since is not part of it.';
COMMENT ON COLUMN sonicus.replays.updated_at IS 'When it last came on, or was paused, resumed or canceled.';
COMMENT ON COLUMN sonicus.replays.finished_at IS 'When it ended, however; NULL: it has not.';

ALTER TABLE sonicus.deliveries ADD replay_id uuid;
COMMENT ON COLUMN sonicus.deliveries.generation IS '1: written when the event was published; a replay makes a new row with the next number, 2 when there was none.';
COMMENT ON COLUMN sonicus.deliveries.max_attempts IS '1 + the endpoint''s max_retries when it was written; a retry by hand raises it to attempt_count + 1 where none is left.';
COMMENT ON COLUMN sonicus.deliveries.replay_id IS 'The replay that made it, so that the receiver gets the event once more; NULL for generation 1.';
-- Partitions that exist have comments of their own.
-- +goose StatementBegin
DO $$
DECLARE
    own record;
BEGIN
    FOR own IN
        SELECT i.inhrelid::regclass AS part, a.attname AS name, col_description(i.inhparent, a.attnum) AS text
        FROM pg_inherits i
        JOIN pg_attribute a ON a.attrelid = i.inhparent AND a.attname IN ('generation', 'max_attempts', 'replay_id')
        WHERE i.inhparent = 'sonicus.deliveries'::regclass
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', own.part, own.name, own.text);
    END LOOP;
END
$$;
-- +goose StatementEnd

CREATE OR REPLACE VIEW sonicus.webhook_deliveries AS
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
       (SELECT greatest(q.due_at, q.lease_until) FROM sonicus.queue q WHERE q.delivery_id = d.id) AS next_attempt_at,
       (SELECT v.test FROM sonicus.events v WHERE v.id = d.event_id) AS test,
       d.replay_id
FROM sonicus.deliveries d;

COMMENT ON COLUMN sonicus.webhook_deliveries.created_at IS 'When it was written: in the transaction of its event, or by a replay.';
COMMENT ON COLUMN sonicus.webhook_deliveries.max_attempts IS 'Requests made at the most: 1 + max_retries when it was written; a retry by hand raises it where none is left.';
COMMENT ON COLUMN sonicus.webhook_deliveries.replay_id IS 'The replay that made it, in sonicus.replays; NULL: publishing did.';

-- +goose Down
DROP VIEW sonicus.webhook_deliveries;
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
       (SELECT greatest(q.due_at, q.lease_until) FROM sonicus.queue q WHERE q.delivery_id = d.id) AS next_attempt_at,
       (SELECT v.test FROM sonicus.events v WHERE v.id = d.event_id) AS test
FROM sonicus.deliveries d;

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
COMMENT ON COLUMN sonicus.webhook_deliveries.test IS 'Sent to try the receiver out; counts in no health figure.';

ALTER TABLE sonicus.deliveries DROP COLUMN replay_id;
COMMENT ON COLUMN sonicus.deliveries.generation IS '1; a replay makes a new row with the next number.';
COMMENT ON COLUMN sonicus.deliveries.max_attempts IS '1 + the endpoint''s max_retries when the delivery was written.';
-- +goose StatementBegin
DO $$
DECLARE
    own record;
BEGIN
    FOR own IN
        SELECT i.inhrelid::regclass AS part, a.attname AS name, col_description(i.inhparent, a.attnum) AS text
        FROM pg_inherits i
        JOIN pg_attribute a ON a.attrelid = i.inhparent AND a.attname IN ('generation', 'max_attempts')
        WHERE i.inhparent = 'sonicus.deliveries'::regclass
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', own.part, own.name, own.text);
    END LOOP;
END
$$;
-- +goose StatementEnd
DROP TABLE sonicus.replays;
