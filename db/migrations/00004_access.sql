-- Owner: pkg/access.

-- +goose Up
CREATE TABLE sonicus.api_keys (
    id           uuid        NOT NULL,
    name         text        NOT NULL,
    role         text        NOT NULL,
    key_hash     bytea       NOT NULL,
    key_last4    text        NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash),
    CONSTRAINT api_keys_role_check CHECK (role IN ('super_admin', 'admin', 'viewer'))
);

CREATE TABLE sonicus.idempotency_keys (
    api_key_id      uuid        NOT NULL,
    key             text        NOT NULL,
    request_hash    bytea       NOT NULL,
    response_status integer,
    response_body   text,
    location        text,
    created_at      timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (api_key_id, key)
);
CREATE INDEX idempotency_keys_created_at_idx ON sonicus.idempotency_keys (created_at);

CREATE TABLE sonicus.audit_log (
    id          uuid        NOT NULL,
    at          timestamptz NOT NULL,
    api_key_id  uuid,
    actor       text        NOT NULL,
    action      text        NOT NULL,
    object_type text        NOT NULL,
    object_id   text        NOT NULL,
    request_id  text,
    before      jsonb,
    after       jsonb,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);

COMMENT ON TABLE sonicus.api_keys IS 'Bearer keys of the API. The key itself is not stored.';
COMMENT ON COLUMN sonicus.api_keys.id IS 'uuidv7.';
COMMENT ON COLUMN sonicus.api_keys.name IS 'What or whom the key is for.';
COMMENT ON COLUMN sonicus.api_keys.role IS 'super_admin, admin or viewer.';
COMMENT ON COLUMN sonicus.api_keys.key_hash IS 'SHA-256 of the key. Keys are 256 random bits, so a slow hash would add nothing.';
COMMENT ON COLUMN sonicus.api_keys.key_last4 IS 'Last four characters, to tell keys apart.';
COMMENT ON COLUMN sonicus.api_keys.created_at IS 'Transaction time of the creation.';
COMMENT ON COLUMN sonicus.api_keys.expires_at IS 'From then on it is refused, NULL: never.';
COMMENT ON COLUMN sonicus.api_keys.last_used_at IS 'Last request with it, exact to about a minute.';
COMMENT ON COLUMN sonicus.api_keys.revoked_at IS 'Set: refused.';

COMMENT ON TABLE sonicus.idempotency_keys IS 'Answers already given, by Idempotency-Key; written in the transaction that they answer for.';
COMMENT ON COLUMN sonicus.idempotency_keys.api_key_id IS 'Whose key it is: the same key of another caller is another key.';
COMMENT ON COLUMN sonicus.idempotency_keys.key IS 'The header''s value.';
COMMENT ON COLUMN sonicus.idempotency_keys.request_hash IS 'SHA-256 of method, path and body.';
COMMENT ON COLUMN sonicus.idempotency_keys.response_status IS 'Status of the first answer.';
COMMENT ON COLUMN sonicus.idempotency_keys.response_body IS 'Body of the first answer.';
COMMENT ON COLUMN sonicus.idempotency_keys.location IS 'Location header of the first answer.';
COMMENT ON COLUMN sonicus.idempotency_keys.created_at IS 'Transaction time; kept for at least 24 hours.';

COMMENT ON TABLE sonicus.audit_log IS 'Every write by an administrator, in the transaction that it tells of.';
COMMENT ON COLUMN sonicus.audit_log.id IS 'uuidv7.';
COMMENT ON COLUMN sonicus.audit_log.at IS 'Transaction time.';
COMMENT ON COLUMN sonicus.audit_log.api_key_id IS 'The API key used, NULL for the command line.';
COMMENT ON COLUMN sonicus.audit_log.actor IS 'Name of the key, or what else acted.';
COMMENT ON COLUMN sonicus.audit_log.action IS 'For example organization.create.';
COMMENT ON COLUMN sonicus.audit_log.object_type IS 'For example organization.';
COMMENT ON COLUMN sonicus.audit_log.object_id IS 'Id of the object.';
COMMENT ON COLUMN sonicus.audit_log.request_id IS 'Request id, as in the log and in the answer.';
COMMENT ON COLUMN sonicus.audit_log.before IS 'The object before, without secrets.';
COMMENT ON COLUMN sonicus.audit_log.after IS 'The object after, without secrets.';

-- +goose Down
DROP TABLE sonicus.audit_log;
DROP TABLE sonicus.idempotency_keys;
DROP TABLE sonicus.api_keys;
