-- Owner: pkg/outbox.
--
-- What can be told of a request afterwards and follows from nothing else. Headers are not
-- stored: those of every request can be made again, and the values of the endpoint's own
-- are secrets.

-- +goose Up
ALTER TABLE sonicus.attempts
    ADD webhook_timestamp bigint,
    ADD remote_address    inet,
    ADD dns_ms            real,
    ADD connect_ms        real,
    ADD tls_ms            real,
    ADD first_byte_ms     real,
    ADD retry_in          real,
    ADD retry_after       real;

-- Partitions that exist have comments of their own.
-- +goose StatementBegin
DO $$
DECLARE
    part    regclass;
    comment record;
BEGIN
    FOR part IN SELECT 'sonicus.attempts'::regclass UNION ALL SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'sonicus.attempts'::regclass LOOP
        FOR comment IN SELECT * FROM (VALUES
                 ('webhook_timestamp', 'The request''s webhook-timestamp: seconds since 1970, by the clock of the dispatcher''s host.'),
                 ('remote_address', 'The receiver''s address, or the last that was tried; NULL: none was, or it was reached through a proxy.'),
                 ('dns_ms', 'Looking up the host name, in milliseconds; NULL in all four: it did not happen, as when the connection was there already.'),
                 ('connect_ms', 'Connecting, over all addresses that were tried.'),
                 ('tls_ms', 'Negotiating TLS.'),
                 ('first_byte_ms', 'From having the connection to the first byte of the answer.'),
                 ('retry_in', 'After how many seconds, from the recording on, another attempt was due; NULL: the delivery was over.'),
                 ('retry_after', 'How many seconds the receiver asked for, when that decided (Retry-After); NULL: the schedule did.')
        ) AS c (name, text) LOOP
            EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', part, comment.name, comment.text);
        END LOOP;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- settle is that of 00007, and records more. The one of 00007 stays for the dispatchers
-- that run while this one is brought in: without it, they would take every result to
-- be one that cannot be recorded.
-- +goose StatementBegin
CREATE FUNCTION sonicus.settle(deliveries uuid[], tokens bigint[], numbers integer[], statuses text[], failure_reasons text[], retries_ms bigint[],
                               ages_ms double precision[], durations_ms real[], http_statuses integer[], reasons text[], errors text[], headers json[],
                               bodies text[], truncations boolean[], takeovers boolean[], clocks bigint[], addresses text[], dns_times real[], connect_times real[],
                               tls_times real[], first_byte_times real[], asked_ms bigint[], settled_by text, low uuid, high uuid)
    RETURNS TABLE (late_delivery_id uuid)
    LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH result AS (
        SELECT r.*, clock_timestamp() - r.age_ms * interval '1 millisecond' AS started_at
        FROM unnest(deliveries, tokens, numbers, statuses, failure_reasons, retries_ms, ages_ms, durations_ms, http_statuses, reasons, errors, settle.headers,
                    bodies, truncations, takeovers, clocks, addresses, dns_times, connect_times, tls_times, first_byte_times, asked_ms)
             AS r(delivery_id, token, number, status, failure_reason, retry_ms, age_ms, duration_ms, http_status, reason, error, headers,
                  body, truncated, took_over, clock, address, dns_ms, connect_ms, tls_ms, first_byte_ms, asked_ms)
    ), held AS (
        SELECT q.delivery_id, q.lease_token AS token
        FROM sonicus.queue q
        JOIN result r ON r.delivery_id = q.delivery_id AND r.token = q.lease_token
        ORDER BY q.delivery_id
        FOR UPDATE OF q
    ), mine AS (
        SELECT r.* FROM result r JOIN held USING (delivery_id, token)
    ), again AS (
        UPDATE sonicus.queue q
        SET due_at = clock_timestamp() + m.retry_ms * interval '1 millisecond', retry = true, lease_token = NULL, lease_until = NULL
        FROM mine m
        WHERE q.delivery_id = m.delivery_id AND m.status = 'retrying'
    ), over AS (
        DELETE FROM sonicus.queue q
        USING mine m
        WHERE q.delivery_id = m.delivery_id AND m.status <> 'retrying'
    ), told AS (
        UPDATE sonicus.deliveries d
        SET status = m.status, failure_reason = nullif(m.failure_reason, ''), attempt_count = m.number,
            http_status_code = nullif(m.http_status, 0), error_message = nullif(m.error, ''), last_attempt_at = m.started_at,
            delivered_at = CASE WHEN m.status = 'sent' THEN m.started_at + m.duration_ms * interval '1 millisecond' END
        FROM mine m
        WHERE d.id = m.delivery_id AND d.id >= low AND d.id < high
    ), logged AS (
        INSERT INTO sonicus.attempts (delivery_id, number, lease_token, started_at, duration_ms, http_status_code, reason,
                                      error_message, response_headers, response_body, response_truncated, dispatcher, took_over, webhook_timestamp,
                                      remote_address, dns_ms, connect_ms, tls_ms, first_byte_ms, retry_in, retry_after)
        SELECT m.delivery_id, m.number, m.token, m.started_at, m.duration_ms, nullif(m.http_status, 0), nullif(m.reason, ''),
               nullif(m.error, ''), m.headers, nullif(m.body, ''), m.truncated, settled_by, m.took_over, m.clock,
               nullif(m.address, '')::inet, nullif(m.dns_ms, 0), nullif(m.connect_ms, 0), nullif(m.tls_ms, 0), nullif(m.first_byte_ms, 0),
               CASE WHEN m.status = 'retrying' THEN m.retry_ms / 1000.0 END, CASE WHEN m.status = 'retrying' AND m.asked_ms > 0 THEN m.asked_ms / 1000.0 END
        FROM mine m
    )
    INSERT INTO sonicus.late_results (delivery_id, lease_token, number, started_at, duration_ms, http_status_code, reason, dispatcher)
    SELECT r.delivery_id, r.token, r.number, r.started_at, r.duration_ms, nullif(r.http_status, 0), nullif(r.reason, ''), settled_by
    FROM result r
    WHERE (r.delivery_id, r.token) NOT IN (SELECT delivery_id, token FROM held)
      AND NOT EXISTS (SELECT FROM sonicus.attempts a
                      WHERE a.delivery_id = r.delivery_id AND a.number = r.number AND a.lease_token = r.token
                        AND a.delivery_id >= low AND a.delivery_id < high)
    ON CONFLICT (delivery_id, lease_token) DO NOTHING
    RETURNING delivery_id;
END
$$;
-- +goose StatementEnd

COMMENT ON FUNCTION sonicus.settle(uuid[], bigint[], integer[], text[], text[], bigint[], double precision[], real[], integer[], text[], text[], json[], text[], boolean[], boolean[], text, uuid, uuid) IS 'The same for dispatchers that do not tell of timings yet.';
COMMENT ON FUNCTION sonicus.settle(uuid[], bigint[], integer[], text[], text[], bigint[], double precision[], real[], integer[], text[], text[], json[], text[], boolean[], boolean[], bigint[], text[], real[], real[], real[], real[], bigint[], text, uuid, uuid) IS 'Records results under the leases that they were claimed with. Returns the deliveries whose result came late.';

-- +goose Down
DROP FUNCTION sonicus.settle(uuid[], bigint[], integer[], text[], text[], bigint[], double precision[], real[], integer[], text[], text[], json[], text[], boolean[], boolean[], bigint[], text[], real[], real[], real[], real[], bigint[], text, uuid, uuid);
COMMENT ON FUNCTION sonicus.settle(uuid[], bigint[], integer[], text[], text[], bigint[], double precision[], real[], integer[], text[], text[], json[], text[], boolean[], boolean[], text, uuid, uuid) IS 'Records results under the leases that they were claimed with. Returns the deliveries whose result came late.';
ALTER TABLE sonicus.attempts
    DROP COLUMN webhook_timestamp,
    DROP COLUMN remote_address,
    DROP COLUMN dns_ms,
    DROP COLUMN connect_ms,
    DROP COLUMN tls_ms,
    DROP COLUMN first_byte_ms,
    DROP COLUMN retry_in,
    DROP COLUMN retry_after;
