-- The SQL contract for people and dashboards. Scalar subqueries keep the views
-- simple (over one table), and a column that is not selected costs nothing.

-- +goose Up
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

-- +goose Down
DROP VIEW sonicus.webhook_deliveries;
DROP VIEW sonicus.webhook_endpoints;
