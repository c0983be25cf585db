-- Owner: pkg/endpoint.

-- +goose Up
-- No foreign key points here from deliveries: every publish would take a shared
-- lock on the row of a popular endpoint. Endpoints are marked deleted instead.
CREATE TABLE sonicus.endpoints (
    id                         uuid        NOT NULL,
    url                        text        NOT NULL,
    name                       text        NOT NULL,
    description                text        NOT NULL DEFAULT '',
    organization_id            uuid,
    events                     jsonb       NOT NULL,
    is_active                  boolean     NOT NULL DEFAULT true,
    timeout_seconds            integer     NOT NULL DEFAULT 10,
    max_retries                integer     NOT NULL DEFAULT 9,
    secret                     text,
    secret_last4               text,
    previous_secret            text,
    previous_secret_expires_at timestamptz,
    headers                    text,
    disabled_reason            text,
    disabled_at                timestamptz,
    paused_at                  timestamptz,
    breaker_state              text        NOT NULL DEFAULT 'closed',
    breaker_until              timestamptz,
    rate_limit                 integer,
    max_concurrency            integer,
    metadata                   jsonb       NOT NULL DEFAULT '{}',
    last_success_at            timestamptz,
    last_failure_at            timestamptz,
    created_at                 timestamptz NOT NULL,
    updated_at                 timestamptz NOT NULL,
    deleted_at                 timestamptz,
    CONSTRAINT endpoints_pkey PRIMARY KEY (id),
    CONSTRAINT endpoints_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES sonicus.organizations (id),
    CONSTRAINT endpoints_events_check CHECK (jsonb_typeof(events) = 'array' AND jsonb_array_length(events) > 0),
    CONSTRAINT endpoints_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 30),
    CONSTRAINT endpoints_max_retries_check CHECK (max_retries BETWEEN 0 AND 50),
    CONSTRAINT endpoints_secret_check CHECK ((secret IS NULL) = (secret_last4 IS NULL)),
    CONSTRAINT endpoints_breaker_state_check CHECK (breaker_state IN ('closed', 'open', 'half_open')),
    CONSTRAINT endpoints_rate_limit_check CHECK (rate_limit >= 1),
    CONSTRAINT endpoints_max_concurrency_check CHECK (max_concurrency >= 1)
) WITH (fillfactor = 50);

-- Finds the endpoints of an event: those of its organization and the global ones.
-- No column that an attempt changes is in it, so that health updates stay HOT.
CREATE INDEX endpoints_match_idx ON sonicus.endpoints (organization_id) WHERE is_active AND deleted_at IS NULL;

COMMENT ON TABLE sonicus.endpoints IS 'Where events are sent. People read the view webhook_endpoints.';
COMMENT ON COLUMN sonicus.endpoints.id IS 'uuidv7.';
COMMENT ON COLUMN sonicus.endpoints.url IS 'Absolute http(s) URL, normalized.';
COMMENT ON COLUMN sonicus.endpoints.name IS 'Human-readable name.';
COMMENT ON COLUMN sonicus.endpoints.description IS 'Free text.';
COMMENT ON COLUMN sonicus.endpoints.organization_id IS 'Only events of this organization; NULL: events of all of them.';
COMMENT ON COLUMN sonicus.endpoints.events IS 'JSON array of event types or patterns: organization.created, organization.*, *.';
COMMENT ON COLUMN sonicus.endpoints.is_active IS 'false: gets no new events, and what is queued waits.';
COMMENT ON COLUMN sonicus.endpoints.timeout_seconds IS 'Deadline of one attempt, 1 to 30 seconds.';
COMMENT ON COLUMN sonicus.endpoints.max_retries IS 'Retries after the first attempt, 0 to 50; frozen into a delivery when it is written.';
COMMENT ON COLUMN sonicus.endpoints.secret IS 'Signing secret, AES-256-GCM envelope v1.<key id>.<nonce>.<ciphertext>; NULL: unsigned.';
COMMENT ON COLUMN sonicus.endpoints.secret_last4 IS 'Last four characters of the secret, to tell secrets apart.';
COMMENT ON COLUMN sonicus.endpoints.previous_secret IS 'Envelope of the secret before the last rotation.';
COMMENT ON COLUMN sonicus.endpoints.previous_secret_expires_at IS 'Until then the previous secret signs too.';
COMMENT ON COLUMN sonicus.endpoints.headers IS 'Envelope of the custom header values.';
COMMENT ON COLUMN sonicus.endpoints.disabled_reason IS 'Why the service switched it off (gone: the receiver answered 410), NULL otherwise.';
COMMENT ON COLUMN sonicus.endpoints.disabled_at IS 'When the service switched it off.';
COMMENT ON COLUMN sonicus.endpoints.paused_at IS 'Set: events are still queued for it, nothing is sent.';
COMMENT ON COLUMN sonicus.endpoints.breaker_state IS 'closed, open or half_open.';
COMMENT ON COLUMN sonicus.endpoints.breaker_until IS 'When an open breaker lets a probe through.';
COMMENT ON COLUMN sonicus.endpoints.rate_limit IS 'Attempts per second over all dispatchers, NULL: no limit.';
COMMENT ON COLUMN sonicus.endpoints.max_concurrency IS 'Attempts in flight per dispatcher, NULL: the dispatcher''s own limit.';
COMMENT ON COLUMN sonicus.endpoints.metadata IS 'JSON object of the administrator''s own.';
COMMENT ON COLUMN sonicus.endpoints.last_success_at IS 'Last 2xx answer, exact to about a second.';
COMMENT ON COLUMN sonicus.endpoints.last_failure_at IS 'Last failed attempt, exact to about a second.';
COMMENT ON COLUMN sonicus.endpoints.created_at IS 'Transaction time of the registration.';
COMMENT ON COLUMN sonicus.endpoints.updated_at IS 'Transaction time of the last change of its settings.';
COMMENT ON COLUMN sonicus.endpoints.deleted_at IS 'Set: deleted; kept for the deliveries that name it.';

-- +goose Down
DROP TABLE sonicus.endpoints;
