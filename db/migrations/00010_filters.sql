-- Owner: pkg/endpoint (endpoints), pkg/outbox (events, functions).
--
-- Which events an endpoint gets is said once, by two functions: concerns() and
-- skipped(). Both are single expressions, which the planner puts into the query:
-- concerns() then uses the index below.

-- +goose Up
ALTER TABLE sonicus.endpoints
    ADD filter jsonb,
    ADD filter_clauses text[],
    ADD filter_paths jsonpath[],
    ADD CONSTRAINT endpoints_filter_check CHECK ((filter IS NULL) = (filter_paths IS NULL) AND (filter IS NULL) = (filter_clauses IS NULL)
                                                 AND cardinality(filter_paths) = cardinality(filter_clauses));

-- Inactive endpoints are in the index too: an event records that it passed them over.
DROP INDEX sonicus.endpoints_match_idx;
CREATE INDEX endpoints_match_idx ON sonicus.endpoints (organization_id) WHERE deleted_at IS NULL;

-- The default is for the events that exist already, and for those that an older
-- version of the service publishes meanwhile.
ALTER TABLE sonicus.events
    ADD skipped_inactive uuid[] DEFAULT '{}',
    ADD skipped_event_type uuid[],
    ADD skipped_filter json;

-- +goose StatementBegin
CREATE FUNCTION sonicus.document(payload json) RETURNS jsonb
    LANGUAGE plpgsql STABLE STRICT
AS $$
BEGIN
    RETURN payload::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL; -- json takes more than jsonb: the character U+0000, numbers without bounds
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION sonicus.failing_clause(paths jsonpath[], clauses text[], document jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    FOR n IN 1 .. cardinality(paths) LOOP
        IF jsonb_path_match(document, paths[n], silent => true) IS NOT TRUE THEN
            RETURN clauses[n];
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE FUNCTION sonicus.concerns(endpoint sonicus.endpoints, organization uuid) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN endpoint.deleted_at IS NULL AND (endpoint.organization_id IS NULL OR endpoint.organization_id = organization);

CREATE FUNCTION sonicus.skipped(endpoint sonicus.endpoints, patterns jsonb[], document jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN NOT endpoint.is_active THEN 'inactive'
    WHEN NOT endpoint.events @> ANY (patterns) THEN 'event_type'
    WHEN endpoint.filter_paths IS NOT NULL THEN sonicus.failing_clause(endpoint.filter_paths, endpoint.filter_clauses, document)
END;

COMMENT ON FUNCTION sonicus.document IS 'A payload as filters look at it; NULL when it cannot be represented, and then no filter lets it through.';
COMMENT ON FUNCTION sonicus.failing_clause IS 'The first clause of a filter that a payload does not meet, NULL when it meets all. Raises no error: what cannot be compared is not met.';
COMMENT ON FUNCTION sonicus.concerns IS 'Whether an endpoint is there and may get events about an organization (NULL: about nobody).';
COMMENT ON FUNCTION sonicus.skipped IS 'Why an endpoint that an event concerns does not get it: inactive, event_type, or the clause of its filter, which begins with "filter."; NULL: it gets it. patterns are what matches the type, as JSON strings; document is sonicus.document(payload).';

COMMENT ON COLUMN sonicus.endpoints.filter IS 'Only events whose payload meets this are sent; NULL: all. The language is described in the API''s documentation.';
COMMENT ON COLUMN sonicus.endpoints.filter_clauses IS 'The clauses of filter, all of which must be met, by name.';
COMMENT ON COLUMN sonicus.endpoints.filter_paths IS 'The same clauses, compiled.';
COMMENT ON COLUMN sonicus.events.skipped_inactive IS 'Endpoints that did not get it because they were switched off; NULL: none, empty: published before the columns skipped_… were kept.';
COMMENT ON COLUMN sonicus.events.skipped_event_type IS 'Endpoints that did not get it because they had not subscribed to its type; NULL: none.';
COMMENT ON COLUMN sonicus.events.skipped_filter IS 'Endpoints that did not get it because of their filter, with the clause that was not met: {"<id>": "filter.…"}; NULL: none.';

-- Partitions that exist already do not take comments over; those to come do.
-- +goose StatementBegin
DO $$
DECLARE
    missing record;
BEGIN
    FOR missing IN
        SELECT i.inhrelid::regclass AS partition, a.attname AS name, col_description(i.inhparent, a.attnum) AS text
        FROM pg_inherits i
        JOIN pg_attribute a ON a.attrelid = i.inhparent AND a.attname LIKE 'skipped\_%'
        WHERE i.inhparent = 'sonicus.events'::regclass
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', missing.partition, missing.name, missing.text);
    END LOOP;
END
$$;
-- +goose StatementEnd

CREATE OR REPLACE VIEW sonicus.webhook_endpoints AS
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
       e.breaker_max_open_seconds,
       e.metadata,
       e.filter
FROM sonicus.endpoints e
WHERE e.deleted_at IS NULL;

COMMENT ON COLUMN sonicus.webhook_endpoints.filter IS 'Only events whose payload meets this are sent; NULL: all.';

-- +goose Down
DROP VIEW sonicus.webhook_endpoints;
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
       e.breaker_max_open_seconds,
       e.metadata
FROM sonicus.endpoints e
WHERE e.deleted_at IS NULL;

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
COMMENT ON COLUMN sonicus.webhook_endpoints.updated_at IS 'When an administrator last changed it.';
COMMENT ON COLUMN sonicus.webhook_endpoints.last_success_at IS 'Last 2xx answer, exact to about a second.';
COMMENT ON COLUMN sonicus.webhook_endpoints.last_failure_at IS 'Last failed attempt, exact to about a second.';
COMMENT ON COLUMN sonicus.webhook_endpoints.disabled_reason IS 'Why it is switched off: manual, gone (410) or failing; NULL otherwise.';
COMMENT ON COLUMN sonicus.webhook_endpoints.disabled_at IS 'When it was switched off.';
COMMENT ON COLUMN sonicus.webhook_endpoints.paused_at IS 'Set: events are queued for it, nothing is sent.';
COMMENT ON COLUMN sonicus.webhook_endpoints.breaker_state IS 'closed; open: nothing is sent; half_open: one probe is on its way.';
COMMENT ON COLUMN sonicus.webhook_endpoints.breaker_until IS 'When an open breaker lets the next probe through.';
COMMENT ON COLUMN sonicus.webhook_endpoints.failing_since IS 'First failed attempt since the last success; NULL while all is well.';
COMMENT ON COLUMN sonicus.webhook_endpoints.rate_limit IS 'Attempts per second over all dispatchers; NULL: no limit.';
COMMENT ON COLUMN sonicus.webhook_endpoints.max_concurrency IS 'Attempts in flight per dispatcher; NULL: the dispatcher''s own limit.';
COMMENT ON COLUMN sonicus.webhook_endpoints.ordering IS 'none, or organization: one delivery of an organization after another.';
COMMENT ON COLUMN sonicus.webhook_endpoints.breaker_failures IS 'Failures in a row that open the breaker; 0: never, NULL: as the dispatcher is set.';
COMMENT ON COLUMN sonicus.webhook_endpoints.breaker_max_open_seconds IS 'Longest time between two probes, NULL: as the dispatcher is set.';
COMMENT ON COLUMN sonicus.webhook_endpoints.metadata IS 'JSON object of the administrator''s own.';

DROP FUNCTION sonicus.skipped;
DROP FUNCTION sonicus.concerns;
DROP FUNCTION sonicus.failing_clause;
DROP FUNCTION sonicus.document;
ALTER TABLE sonicus.events
    DROP COLUMN skipped_filter,
    DROP COLUMN skipped_event_type,
    DROP COLUMN skipped_inactive;
DROP INDEX sonicus.endpoints_match_idx;
CREATE INDEX endpoints_match_idx ON sonicus.endpoints (organization_id) WHERE is_active AND deleted_at IS NULL;
ALTER TABLE sonicus.endpoints
    DROP CONSTRAINT endpoints_filter_check,
    DROP COLUMN filter_paths,
    DROP COLUMN filter_clauses,
    DROP COLUMN filter;
