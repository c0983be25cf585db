-- Owner: pkg/endpoint.

-- +goose Up
-- What was sealed for an endpoint ends with it.
UPDATE sonicus.endpoints
SET secret = NULL, secret_last4 = NULL, previous_secret = NULL, previous_secret_expires_at = NULL, headers = NULL
WHERE deleted_at IS NOT NULL;
ALTER TABLE sonicus.endpoints
    ADD header_names jsonb NOT NULL DEFAULT '[]',
    ADD CONSTRAINT endpoints_deleted_check CHECK (deleted_at IS NULL OR (secret IS NULL AND previous_secret IS NULL AND headers IS NULL)),
    ADD CONSTRAINT endpoints_metadata_check CHECK (jsonb_typeof(metadata) = 'object');

COMMENT ON COLUMN sonicus.endpoints.header_names IS 'JSON array of the names of the custom headers, whose values are in headers.';
COMMENT ON COLUMN sonicus.endpoints.disabled_reason IS 'Why it is switched off (manual: by an administrator; gone: the receiver answered 410; failing: nothing but failures for days), NULL otherwise.';
COMMENT ON COLUMN sonicus.endpoints.disabled_at IS 'When it was switched off.';
COMMENT ON COLUMN sonicus.endpoints.updated_at IS 'Transaction time of the last change by an administrator.';
COMMENT ON COLUMN sonicus.endpoints.deleted_at IS 'Set: deleted, its secrets erased; kept for the deliveries that name it. What was queued ends as failed (endpoint_deleted).';
COMMENT ON COLUMN sonicus.endpoints.metadata IS 'JSON object of the administrator''s own, up to 16 KiB.';

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
       e.metadata
FROM sonicus.endpoints e
WHERE e.deleted_at IS NULL;

COMMENT ON COLUMN sonicus.webhook_endpoints.updated_at IS 'When an administrator last changed it.';
COMMENT ON COLUMN sonicus.webhook_endpoints.disabled_reason IS 'Why it is switched off: manual, gone (410) or failing; NULL otherwise.';
COMMENT ON COLUMN sonicus.webhook_endpoints.disabled_at IS 'When it was switched off.';
COMMENT ON COLUMN sonicus.webhook_endpoints.metadata IS 'JSON object of the administrator''s own.';

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
       e.breaker_max_open_seconds
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

COMMENT ON COLUMN sonicus.endpoints.disabled_reason IS 'Why the service switched it off (gone: the receiver answered 410; failing: nothing but failures for days), NULL otherwise.';
COMMENT ON COLUMN sonicus.endpoints.disabled_at IS 'When the service switched it off.';
COMMENT ON COLUMN sonicus.endpoints.updated_at IS 'Transaction time of the last change of its settings.';
COMMENT ON COLUMN sonicus.endpoints.deleted_at IS 'Set: deleted; kept for the deliveries that name it.';
COMMENT ON COLUMN sonicus.endpoints.metadata IS 'JSON object of the administrator''s own.';

ALTER TABLE sonicus.endpoints
    DROP COLUMN header_names,
    DROP CONSTRAINT endpoints_metadata_check,
    DROP CONSTRAINT endpoints_deleted_check;
