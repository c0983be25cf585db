-- Owner: pkg/outbox.
--
-- The three statements that a dispatcher runs for every batch are functions:
-- PL/pgSQL keeps a plan for as long as the connection to the server lives, also
-- behind a transaction pooler, where a client can prepare nothing. Planning them
-- anew each time took a fifth of all that Postgres does for a delivery, and a
-- third of the time from a commit to its POST (measured).
--
-- A kept plan is made once, whatever the arguments and however large the tables:
-- force_generic_plan makes it so from the first call on, without sequential and
-- bitmap scans every look-up goes by its index, in order, even if the plan was made
-- while the tables were empty, and id ranges of whole days let the plan leave
-- out all other partitions when it starts.

-- +goose Up
-- A receiver is not stampeded when its breaker has closed: the pace doubles every
-- second until nothing is left to limit.
-- +goose StatementBegin
CREATE FUNCTION sonicus.recovery_rate(since timestamptz) RETURNS double precision
    LANGUAGE sql STABLE
RETURN CASE WHEN since > statement_timestamp() - interval '10 seconds'
            THEN 10 * 2 ^ extract(epoch FROM statement_timestamp() - since) END;
-- +goose StatementEnd

-- claim looks into lanes: those of the arrays, from a lower bound on, for at most so
-- many deliveries. Without the bound, a long-running transaction anywhere in the
-- database would make every claim walk over the index entries of all that was
-- settled since (measured: a sixth of the throughput after 40 s).
--
-- A row holds its place in the index while it is leased: lease_until is in none,
-- so that leasing is a HOT update. In an ordered stream only the first row may go.
--
-- Lanes that something limits - an open breaker, a rate limit, a recovery - pass a
-- gate: the endpoint's row in lanes is locked, by one dispatcher at a time; who
-- misses the lock takes nothing. Of the row's newest version, permit computes how
-- many may go: one as the probe of an open breaker, or what the pace has room for up
-- to so many seconds ahead, spaced evenly (GCRA).
-- +goose StatementBegin
CREATE FUNCTION sonicus.claim(endpoints uuid[], retries boolean[], bounds timestamptz[], sizes integer[], token bigint, lease_margin double precision, pace_ahead double precision)
    RETURNS TABLE (endpoint_id uuid, retry boolean, delivery_id uuid, organization_id uuid, due_at timestamptz, took_over boolean, troubled boolean,
                   endpoint_version bigint, lease double precision, start_in double precision, again_in double precision)
    LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH asked AS (
        SELECT * FROM unnest(endpoints, retries, bounds, sizes) AS a (endpoint_id, retry, since, most)
    ), lane AS (
        SELECT a.*, e.xmin::text::bigint AS endpoint_version, e.rate_limit, l.breaker_until,
               e.is_active AND e.paused_at IS NULL AND e.deleted_at IS NULL AS active,
               make_interval(secs => e.timeout_seconds + lease_margin) AS lease,
               l.failures > 0 OR l.breaker_state <> 'closed' AS troubled,
               e.rate_limit IS NOT NULL OR l.breaker_state <> 'closed' OR l.recovering_since IS NOT NULL AS gated
        FROM asked a
        JOIN sonicus.endpoints e ON e.id = a.endpoint_id
        JOIN sonicus.lanes l ON l.endpoint_id = a.endpoint_id
    ), due AS (
        SELECT lane.*, found.*, row_number() OVER (PARTITION BY lane.endpoint_id ORDER BY found.due_at) AS n
        FROM lane
        CROSS JOIN LATERAL (
            SELECT q.ctid AS at, q.due_at, q.lease_token IS NOT NULL AS took_over
            FROM sonicus.queue q
            WHERE q.retry = lane.retry AND q.endpoint_id = lane.endpoint_id
              AND q.due_at >= lane.since AND q.due_at <= statement_timestamp()
              AND (q.lease_until IS NULL OR q.lease_until <= statement_timestamp())
              AND (q.position IS NULL OR q.position = (
                      SELECT min(p.position) FROM sonicus.queue p
                      WHERE p.endpoint_id = q.endpoint_id AND p.organization_id = q.organization_id AND p.position IS NOT NULL))
            ORDER BY q.due_at
            LIMIT lane.most
            FOR NO KEY UPDATE OF q SKIP LOCKED
        ) found
        WHERE lane.active AND (lane.breaker_until IS NULL OR lane.breaker_until <= statement_timestamp())
    ), gate AS (
        SELECT l.endpoint_id, w.wanted, w.lease, l.breaker_state, l.breaker_until,
               greatest(l.paced_until, statement_timestamp()) AS free_at,
               least(w.rate_limit, sonicus.recovery_rate(l.recovering_since)) AS rate
        FROM (SELECT endpoint_id, min(rate_limit) AS rate_limit, max(lease) AS lease, count(*) AS wanted
              FROM due WHERE gated GROUP BY endpoint_id) w
        JOIN sonicus.lanes l USING (endpoint_id)
        FOR NO KEY UPDATE OF l SKIP LOCKED
    ), permit AS (
        SELECT g.*, CASE
                   WHEN g.breaker_until > statement_timestamp() THEN 0
                   WHEN g.breaker_state <> 'closed' THEN 1
                   WHEN g.rate IS NULL THEN g.wanted
                   ELSE least(g.wanted, greatest(0, 1 + floor(extract(epoch FROM statement_timestamp() + pace_ahead * interval '1 second' - g.free_at) * g.rate)))
               END AS permits
        FROM gate g
    ), spent AS (
        UPDATE sonicus.lanes l
        SET paced_until = CASE WHEN p.rate IS NOT NULL THEN p.free_at + p.permits / p.rate * interval '1 second' END,
            breaker_state = CASE WHEN p.breaker_state = 'closed' THEN 'closed' ELSE 'half_open' END,
            breaker_until = CASE WHEN p.breaker_state <> 'closed' THEN statement_timestamp() + p.lease END,
            recovering_since = CASE WHEN sonicus.recovery_rate(l.recovering_since) IS NOT NULL THEN l.recovering_since END
        FROM permit p
        WHERE l.endpoint_id = p.endpoint_id AND p.permits > 0
    ), leased AS (
        UPDATE sonicus.queue q
        SET lease_until = statement_timestamp() + d.lease, lease_token = claim.token
        FROM due d
        LEFT JOIN permit p USING (endpoint_id)
        WHERE q.ctid = d.at AND (NOT d.gated OR d.n <= p.permits)
        RETURNING q.delivery_id, q.organization_id, d.endpoint_id, d.retry, d.due_at, d.took_over, d.troubled, d.endpoint_version,
                  extract(epoch FROM d.lease)::double precision AS lease,
                  coalesce(extract(epoch FROM p.free_at - statement_timestamp()) + (d.n - 1) / p.rate, 0)::double precision AS start_in
    )
    SELECT a.endpoint_id, a.retry, l.delivery_id, l.organization_id, l.due_at, l.took_over, l.troubled, l.endpoint_version, l.lease, l.start_in,
           extract(epoch FROM CASE
               WHEN a.breaker_until > statement_timestamp() THEN a.breaker_until - statement_timestamp()
               WHEN a.gated AND p.rate IS NOT NULL THEN p.free_at + p.permits / p.rate * interval '1 second' - statement_timestamp()
               WHEN a.gated AND EXISTS (SELECT FROM due d WHERE d.endpoint_id = a.endpoint_id AND d.retry = a.retry) THEN interval '1 second'
           END)::double precision AS again_in
    FROM lane a
    LEFT JOIN leased l USING (endpoint_id, retry)
    LEFT JOIN permit p USING (endpoint_id)
    ORDER BY a.endpoint_id, a.retry, l.due_at;
END
$$;
-- +goose StatementEnd

-- load reads what an attempt needs of the claimed deliveries. An event has the same
-- time in its id as its deliveries, so one range of ids bounds both.
-- +goose StatementBegin
CREATE FUNCTION sonicus.load(deliveries uuid[], low uuid, high uuid)
    RETURNS TABLE (delivery_id uuid, event_id uuid, event_type text, attempt_count integer, max_attempts integer, payload json, event_time timestamptz)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.id AS delivery_id, d.event_id, d.event_type, d.attempt_count, d.max_attempts, v.payload, v.created_at AS event_time
    FROM unnest(deliveries) WITH ORDINALITY AS c (id, n)
    CROSS JOIN LATERAL (SELECT * FROM sonicus.deliveries d WHERE d.id = c.id AND d.id >= low AND d.id < high LIMIT 1) d
    CROSS JOIN LATERAL (SELECT * FROM sonicus.events v WHERE v.id = d.event_id AND v.id >= low AND v.id < high LIMIT 1) v
    ORDER BY c.n;
END
$$;
-- +goose StatementEnd

-- settle records results, as one array per column, whose deliveries lie within a
-- range of ids. A result applies while the queue's row still has the token that it
-- was claimed with; rows are locked in the order of their ids, so that two
-- dispatchers cannot deadlock. A result that was settled before, when the answer to COMMIT was lost,
-- is recognized by its row in attempts and changes nothing. Any other is late: it is
-- recorded beside, never applied, and returned.
-- +goose StatementBegin
CREATE FUNCTION sonicus.settle(deliveries uuid[], tokens bigint[], numbers integer[], statuses text[], failure_reasons text[], retries_ms bigint[],
                               ages_ms double precision[], durations_ms real[], http_statuses integer[], reasons text[], errors text[], headers json[],
                               bodies text[], truncations boolean[], takeovers boolean[], settled_by text, low uuid, high uuid)
    RETURNS TABLE (late_delivery_id uuid)
    LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH result AS (
        SELECT r.*, clock_timestamp() - r.age_ms * interval '1 millisecond' AS started_at
        FROM unnest(deliveries, tokens, numbers, statuses, failure_reasons, retries_ms, ages_ms, durations_ms, http_statuses, reasons, errors, settle.headers,
                    bodies, truncations, takeovers)
             AS r(delivery_id, token, number, status, failure_reason, retry_ms, age_ms, duration_ms, http_status, reason, error, headers,
                  body, truncated, took_over)
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
                                      error_message, response_headers, response_body, response_truncated, dispatcher, took_over)
        SELECT m.delivery_id, m.number, m.token, m.started_at, m.duration_ms, nullif(m.http_status, 0), nullif(m.reason, ''),
               nullif(m.error, ''), m.headers, nullif(m.body, ''), m.truncated, settled_by, m.took_over
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

COMMENT ON FUNCTION sonicus.recovery_rate IS 'Requests per second to a receiver whose breaker closed at that time; NULL: as many as it takes.';
COMMENT ON FUNCTION sonicus.claim IS 'Takes due deliveries from the lanes asked for, under leases of the token. A row for each, or one without a delivery for a lane that gave none.';
COMMENT ON FUNCTION sonicus.load IS 'What an attempt needs of the deliveries, whose ids lie from low to below high.';
COMMENT ON FUNCTION sonicus.settle IS 'Records results under the leases that they were claimed with. Returns the deliveries whose result came late.';

-- +goose Down
DROP FUNCTION sonicus.settle;
DROP FUNCTION sonicus.load;
DROP FUNCTION sonicus.claim;
DROP FUNCTION sonicus.recovery_rate;
