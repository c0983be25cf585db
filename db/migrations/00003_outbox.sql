-- Owner: pkg/outbox.
--
-- events, deliveries and attempts are partitioned by day over ids that are
-- uuidv7: a look-up by id prunes to one partition, and retention drops tables
-- instead of deleting rows. An event, its deliveries and their attempts always
-- share a day, because a delivery's id keeps the time of its event.

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION sonicus.id_floor(at timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
-- +goose StatementEnd

-- The id says what it identifies, so that the primary key alone makes a second
-- delivery of the same event to the same endpoint impossible.
-- +goose StatementBegin
CREATE FUNCTION sonicus.delivery_id(event_id uuid, endpoint_id uuid, generation integer) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT (substr(translate(event_id::text, '-', ''), 1, 12)
            || '7' || substr(h, 1, 3)
            || translate(substr(h, 4, 1), '0123456789abcdef', '89ab89ab89ab89ab') || substr(h, 5, 15))::uuid
    FROM md5(event_id::text || endpoint_id::text || generation::text) AS h
);
-- +goose StatementEnd

CREATE TABLE sonicus.events (
    id              uuid        NOT NULL,
    event_type      text        NOT NULL,
    organization_id uuid        NOT NULL,
    payload         json        NOT NULL,
    fanout          integer     NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE sonicus.deliveries (
    id               uuid        NOT NULL,
    event_id         uuid        NOT NULL,
    endpoint_id      uuid        NOT NULL,
    created_at       timestamptz NOT NULL,
    last_attempt_at  timestamptz,
    delivered_at     timestamptz,
    generation       integer     NOT NULL DEFAULT 1,
    attempt_count    integer     NOT NULL DEFAULT 0,
    max_attempts     integer     NOT NULL,
    http_status_code integer,
    event_type       text        NOT NULL,
    status           text        NOT NULL DEFAULT 'pending',
    failure_reason   text,
    error_message    text,
    CONSTRAINT deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT deliveries_status_check CHECK (status IN ('pending', 'retrying', 'sent', 'failed')),
    CONSTRAINT deliveries_failure_reason_check CHECK ((status = 'failed') = (failure_reason IS NOT NULL)),
    CONSTRAINT deliveries_delivered_at_check CHECK ((status = 'sent') = (delivered_at IS NOT NULL))
) PARTITION BY RANGE (id);
-- Neither index here nor any predicate names a column that an attempt changes,
-- so that settling is a HOT update.
CREATE INDEX deliveries_endpoint_idx ON sonicus.deliveries (endpoint_id, id);

CREATE TABLE sonicus.attempts (
    delivery_id        uuid        NOT NULL,
    number             integer     NOT NULL,
    lease_token        bigint      NOT NULL,
    started_at         timestamptz NOT NULL,
    duration_ms        real        NOT NULL,
    http_status_code   integer,
    reason             text,
    error_message      text,
    response_headers   json,
    response_body      text,
    response_truncated boolean     NOT NULL DEFAULT false,
    dispatcher         text        NOT NULL,
    CONSTRAINT attempts_pkey PRIMARY KEY (delivery_id, number)
) PARTITION BY RANGE (delivery_id);

-- The only table that is polled. Every claim kills index entries, so it is
-- vacuumed by count and not by share of its size.
CREATE TABLE sonicus.queue (
    delivery_id uuid        NOT NULL,
    endpoint_id uuid        NOT NULL,
    due_at      timestamptz NOT NULL,
    lease_token bigint,
    CONSTRAINT queue_pkey PRIMARY KEY (delivery_id),
    CONSTRAINT queue_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES sonicus.deliveries (id),
    CONSTRAINT queue_due_at_check CHECK (isfinite(due_at))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX queue_lane_idx ON sonicus.queue (endpoint_id, due_at);

CREATE TABLE sonicus.late_results (
    delivery_id      uuid        NOT NULL,
    lease_token      bigint      NOT NULL,
    number           integer     NOT NULL,
    started_at       timestamptz NOT NULL,
    duration_ms      real        NOT NULL,
    http_status_code integer,
    reason           text,
    dispatcher       text        NOT NULL,
    recorded_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT late_results_pkey PRIMARY KEY (delivery_id, lease_token)
);

-- Attaching a table that exists takes a lock that lets reads and writes of the
-- parent go on; CREATE TABLE … PARTITION OF would stop both.
-- +goose StatementBegin
CREATE FUNCTION sonicus.ensure_partitions(days_ahead integer DEFAULT 7) RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    today   date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    missing record;
    made    integer := 0;
BEGIN
    -- The second round, under the lock, sees what others have made meanwhile. It
    -- reads pg_class, because to_regclass() would answer from the session's cache.
    FOR round IN 1 .. 2 LOOP
        FOR missing IN
            SELECT p AS parent, today + n AS day, p || to_char(today + n, '"_"YYYYMMDD') AS name
            FROM unnest(ARRAY['events', 'deliveries', 'attempts']) p, generate_series(-1, days_ahead) n
            WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'sonicus'::regnamespace
                                                       AND c.relname = p || to_char(today + n, '"_"YYYYMMDD'))
        LOOP
            IF round = 1 THEN
                PERFORM pg_advisory_xact_lock(hashtext('sonicus.ensure_partitions'));
                EXIT;
            END IF;
            EXECUTE format('CREATE TABLE sonicus.%I (LIKE sonicus.%I INCLUDING ALL) WITH (fillfactor = %s)',
                           missing.name, missing.parent, CASE missing.parent WHEN 'deliveries' THEN 50 ELSE 100 END);
            EXECUTE format('COMMENT ON TABLE sonicus.%I IS %L', missing.name,
                           format('Rows of %s whose id was made on %s (UTC).', missing.parent, missing.day));
            EXECUTE format('ALTER TABLE sonicus.%I ATTACH PARTITION sonicus.%I FOR VALUES FROM (%L) TO (%L)', missing.parent, missing.name,
                           sonicus.id_floor(missing.day::timestamp AT TIME ZONE 'UTC'),
                           sonicus.id_floor((missing.day + 1)::timestamp AT TIME ZONE 'UTC'));
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
-- +goose StatementEnd

COMMENT ON FUNCTION sonicus.id_floor IS 'The smallest uuidv7 of an instant: WHERE id >= sonicus.id_floor(now() - interval ''1 day'') reads only the partitions it needs.';
COMMENT ON FUNCTION sonicus.delivery_id IS 'Id of the delivery of an event to an endpoint: the time of the event and a digest of the three arguments.';
COMMENT ON FUNCTION sonicus.ensure_partitions IS 'Makes the daily partitions from yesterday to days_ahead that do not exist yet; returns how many it made. Called by both processes every hour.';

COMMENT ON TABLE sonicus.events IS 'One row per event, with the exact bytes that are sent.';
COMMENT ON COLUMN sonicus.events.id IS 'uuidv7; sent as event_id, X-Sonicus-Event-ID and webhook-id.';
COMMENT ON COLUMN sonicus.events.event_type IS 'For example organization.created.';
COMMENT ON COLUMN sonicus.events.organization_id IS 'The organization that the event is about.';
COMMENT ON COLUMN sonicus.events.payload IS 'The request body, stored as text (json, not jsonb): the same bytes on every attempt.';
COMMENT ON COLUMN sonicus.events.fanout IS 'How many endpoints matched when it was published; as many deliveries of generation 1 exist.';
COMMENT ON COLUMN sonicus.events.created_at IS 'Transaction time of the change that it tells; the payload''s timestamp.';

COMMENT ON TABLE sonicus.deliveries IS 'One row per event, endpoint and generation. People read the view webhook_deliveries.';
COMMENT ON COLUMN sonicus.deliveries.id IS 'sonicus.delivery_id(event_id, endpoint_id, generation).';
COMMENT ON COLUMN sonicus.deliveries.event_id IS 'The event.';
COMMENT ON COLUMN sonicus.deliveries.endpoint_id IS 'The endpoint it goes to.';
COMMENT ON COLUMN sonicus.deliveries.created_at IS 'When it was written: with the event, or by a replay.';
COMMENT ON COLUMN sonicus.deliveries.last_attempt_at IS 'Start of the last attempt, NULL before the first.';
COMMENT ON COLUMN sonicus.deliveries.delivered_at IS 'When a 2xx answer came, NULL otherwise.';
COMMENT ON COLUMN sonicus.deliveries.generation IS '1; a replay makes a new row with the next number.';
COMMENT ON COLUMN sonicus.deliveries.attempt_count IS 'Requests made; as many rows in attempts.';
COMMENT ON COLUMN sonicus.deliveries.max_attempts IS '1 + the endpoint''s max_retries when the delivery was written.';
COMMENT ON COLUMN sonicus.deliveries.http_status_code IS 'Status of the last answer, NULL when none came.';
COMMENT ON COLUMN sonicus.deliveries.event_type IS 'Type of the event.';
COMMENT ON COLUMN sonicus.deliveries.status IS 'pending: not tried yet; retrying: failed, will be tried again; sent: 2xx received; failed: given up, see failure_reason.';
COMMENT ON COLUMN sonicus.deliveries.failure_reason IS 'Why it was given up: exhausted, gone, blocked_address, …; NULL unless failed.';
COMMENT ON COLUMN sonicus.deliveries.error_message IS 'What went wrong in the last attempt, NULL after a success.';

COMMENT ON TABLE sonicus.attempts IS 'Append-only log: one row per request made.';
COMMENT ON COLUMN sonicus.attempts.delivery_id IS 'The delivery.';
COMMENT ON COLUMN sonicus.attempts.number IS '1, 2, 3 … within the delivery; sent as X-Sonicus-Attempt.';
COMMENT ON COLUMN sonicus.attempts.lease_token IS 'The lease under which the request was made.';
COMMENT ON COLUMN sonicus.attempts.started_at IS 'When the request began, by the database''s clock.';
COMMENT ON COLUMN sonicus.attempts.duration_ms IS 'From the start of the request to the end of the answer, in milliseconds.';
COMMENT ON COLUMN sonicus.attempts.http_status_code IS 'Status of the answer, NULL when none came.';
COMMENT ON COLUMN sonicus.attempts.reason IS 'Why the attempt failed (timeout, connection_refused, unexpected_status, …), NULL on success.';
COMMENT ON COLUMN sonicus.attempts.error_message IS 'The same as a sentence.';
COMMENT ON COLUMN sonicus.attempts.response_headers IS 'Selected headers of the answer, a JSON object.';
COMMENT ON COLUMN sonicus.attempts.response_body IS 'First 4 KiB of the answer''s body, control characters escaped.';
COMMENT ON COLUMN sonicus.attempts.response_truncated IS 'The body was longer than what is stored.';
COMMENT ON COLUMN sonicus.attempts.dispatcher IS 'Which process made the request: host name and process id.';

COMMENT ON TABLE sonicus.queue IS 'One row per delivery that still has work. Empty when idle.';
COMMENT ON COLUMN sonicus.queue.delivery_id IS 'The delivery.';
COMMENT ON COLUMN sonicus.queue.endpoint_id IS 'Its endpoint: the lane.';
COMMENT ON COLUMN sonicus.queue.due_at IS 'When it may be claimed; while it is claimed, the end of the lease.';
COMMENT ON COLUMN sonicus.queue.lease_token IS 'Set while a dispatcher holds the row; a result is applied only under the token it was claimed with.';

COMMENT ON TABLE sonicus.late_results IS 'Results that came after their lease was taken over: possible duplicates, recorded and never applied.';
COMMENT ON COLUMN sonicus.late_results.delivery_id IS 'The delivery.';
COMMENT ON COLUMN sonicus.late_results.lease_token IS 'The lease that had been lost.';
COMMENT ON COLUMN sonicus.late_results.number IS 'The attempt number that was sent.';
COMMENT ON COLUMN sonicus.late_results.started_at IS 'When the request began.';
COMMENT ON COLUMN sonicus.late_results.duration_ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN sonicus.late_results.http_status_code IS 'Status of the answer, NULL when none came.';
COMMENT ON COLUMN sonicus.late_results.reason IS 'Why it failed, NULL when it was a success: then the receiver has the event twice.';
COMMENT ON COLUMN sonicus.late_results.dispatcher IS 'Which process was late.';
COMMENT ON COLUMN sonicus.late_results.recorded_at IS 'When the result was recorded.';

-- After the comments, which partitions take over from their parent.
SELECT sonicus.ensure_partitions();

-- +goose Down
DROP FUNCTION sonicus.ensure_partitions;
DROP TABLE sonicus.late_results;
DROP TABLE sonicus.queue;
DROP TABLE sonicus.attempts;
DROP TABLE sonicus.deliveries;
DROP TABLE sonicus.events;
DROP FUNCTION sonicus.delivery_id;
DROP FUNCTION sonicus.id_floor;
