-- Owner: pkg/idempotency, which the table has from here on.
--
-- Nothing has written the table so far. Callers are not only API keys; the answer may
-- hold a secret that is shown once, and the request one that is weak enough to be
-- guessed from a hash. So neither is here in the clear.

-- +goose Up
DROP TABLE sonicus.idempotency_keys;
CREATE TABLE sonicus.idempotency_keys (
    caller     text        NOT NULL,
    key        text        NOT NULL,
    id         uuid        NOT NULL,
    answer     text,
    created_at timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_keys_created_at_idx ON sonicus.idempotency_keys (created_at);

COMMENT ON TABLE sonicus.idempotency_keys IS 'Answers already given, by Idempotency-Key; written in the transaction that they answer for.';
COMMENT ON COLUMN sonicus.idempotency_keys.caller IS 'Whose key it is (key:<id> of an API key, or name:<subject> of a JWT and name:bootstrap): the same key of another caller is another key.';
COMMENT ON COLUMN sonicus.idempotency_keys.key IS 'The header''s value.';
COMMENT ON COLUMN sonicus.idempotency_keys.id IS 'uuidv7, of the request that was answered.';
COMMENT ON COLUMN sonicus.idempotency_keys.answer IS 'Encrypted, bound to the id: the answer, and the SHA-256 of method, path and body. NULL only within the transaction.';
COMMENT ON COLUMN sonicus.idempotency_keys.created_at IS 'Transaction time; kept for at least 24 hours.';

-- +goose Down
DROP TABLE sonicus.idempotency_keys;
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

COMMENT ON TABLE sonicus.idempotency_keys IS 'Answers already given, by Idempotency-Key; written in the transaction that they answer for.';
COMMENT ON COLUMN sonicus.idempotency_keys.api_key_id IS 'Whose key it is: the same key of another caller is another key.';
COMMENT ON COLUMN sonicus.idempotency_keys.key IS 'The header''s value.';
COMMENT ON COLUMN sonicus.idempotency_keys.request_hash IS 'SHA-256 of method, path and body.';
COMMENT ON COLUMN sonicus.idempotency_keys.response_status IS 'Status of the first answer.';
COMMENT ON COLUMN sonicus.idempotency_keys.response_body IS 'Body of the first answer.';
COMMENT ON COLUMN sonicus.idempotency_keys.location IS 'Location header of the first answer.';
COMMENT ON COLUMN sonicus.idempotency_keys.created_at IS 'Transaction time; kept for at least 24 hours.';
