-- Owner: pkg/outbox.
--
-- A test is an event in which nothing has happened. It is delivered as every other, and
-- what becomes of it says nothing of how an endpoint does.

-- +goose Up
ALTER TABLE sonicus.events ADD test boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sonicus.events.test IS 'Nothing has happened: it was sent to try receivers out, and counts in no health figure.';
-- Partitions that exist have comments of their own.
-- +goose StatementBegin
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'sonicus.events'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.test IS %L', part, 'Nothing has happened: it was sent to try receivers out, and counts in no health figure.');
    END LOOP;
END
$$;
-- +goose StatementEnd

-- loaded is the load of 00007, and tells a test. That one stays for the dispatchers that
-- run while this is brought in: a column that they do not know would end their claims.
-- +goose StatementBegin
CREATE FUNCTION sonicus.loaded(deliveries uuid[], low uuid, high uuid)
    RETURNS TABLE (delivery_id uuid, event_id uuid, event_type text, attempt_count integer, max_attempts integer, payload json, event_time timestamptz, test boolean)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.id AS delivery_id, d.event_id, d.event_type, d.attempt_count, d.max_attempts, v.payload, v.created_at AS event_time, v.test
    FROM unnest(deliveries) WITH ORDINALITY AS c (id, n)
    CROSS JOIN LATERAL (SELECT * FROM sonicus.deliveries d WHERE d.id = c.id AND d.id >= low AND d.id < high LIMIT 1) d
    CROSS JOIN LATERAL (SELECT * FROM sonicus.events v WHERE v.id = d.event_id AND v.id >= low AND v.id < high LIMIT 1) v
    ORDER BY c.n;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION sonicus.load IS 'The same as loaded for dispatchers that know of no tests yet.';
COMMENT ON FUNCTION sonicus.loaded IS 'What an attempt needs of the deliveries, whose ids lie from low to below high.';

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
       (SELECT v.test FROM sonicus.events v WHERE v.id = d.event_id) AS test
FROM sonicus.deliveries d;

COMMENT ON COLUMN sonicus.webhook_deliveries.test IS 'Sent to try the receiver out; counts in no health figure.';

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
       (SELECT greatest(q.due_at, q.lease_until) FROM sonicus.queue q WHERE q.delivery_id = d.id) AS next_attempt_at
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

DROP FUNCTION sonicus.loaded;
COMMENT ON FUNCTION sonicus.load IS 'What an attempt needs of the deliveries, whose ids lie from low to below high.';

ALTER TABLE sonicus.events DROP COLUMN test;
