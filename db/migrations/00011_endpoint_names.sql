-- Owner: pkg/endpoint.

-- +goose Up
ALTER TABLE sonicus.endpoints
    ADD uid            text,
    ADD retry_schedule integer[],
    ADD CONSTRAINT endpoints_uid_check CHECK (uid ~ '^[A-Za-z0-9._-]{1,100}$'),
    ADD CONSTRAINT endpoints_retry_schedule_check CHECK (cardinality(retry_schedule) BETWEEN 1 AND 50 AND array_ndims(retry_schedule) = 1 AND array_position(retry_schedule, NULL) IS NULL
                                                         AND 1 <= ALL (retry_schedule) AND 86400 >= ALL (retry_schedule));
CREATE UNIQUE INDEX endpoints_uid_idx ON sonicus.endpoints (uid) WHERE uid IS NOT NULL AND deleted_at IS NULL;

COMMENT ON COLUMN sonicus.endpoints.uid IS 'Name that the caller gave it, unique among endpoints that are not deleted; NULL: none.';
COMMENT ON COLUMN sonicus.endpoints.retry_schedule IS 'Seconds to wait before the first retry, the second and so on, the last one for all that follow; NULL: as the dispatcher is set.';

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
       e.filter,
       e.uid,
       e.retry_schedule
FROM sonicus.endpoints e
WHERE e.deleted_at IS NULL;

COMMENT ON COLUMN sonicus.webhook_endpoints.uid IS 'Name that the caller gave it; NULL: none.';
COMMENT ON COLUMN sonicus.webhook_endpoints.retry_schedule IS 'Seconds to wait before each retry, the last one for all that follow; NULL: as the dispatcher is set.';

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
       e.metadata,
       e.filter
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
COMMENT ON COLUMN sonicus.webhook_endpoints.filter IS 'Only events whose payload meets this are sent; NULL: all.';

DROP INDEX sonicus.endpoints_uid_idx;
ALTER TABLE sonicus.endpoints
    DROP COLUMN uid,
    DROP COLUMN retry_schedule;
