-- Owner: pkg/outbox.
--
-- Statistics are kept beside the deliveries, in rows that sum up five minutes, later
-- an hour: what they cost to read does not depend on how many deliveries there are.

-- +goose Up
CREATE TABLE sonicus.delivery_stats (
    endpoint_id         uuid        NOT NULL,
    starts_at           timestamptz NOT NULL,
    minutes             smallint    NOT NULL,
    status              text        NOT NULL,
    failure_reason      text        NOT NULL DEFAULT '',
    deliveries          integer     NOT NULL,
    attempts            integer     NOT NULL,
    possible_duplicates integer     NOT NULL,
    response_times      integer[]   NOT NULL,
    CONSTRAINT delivery_stats_pkey PRIMARY KEY (endpoint_id, starts_at, minutes, status, failure_reason),
    CONSTRAINT delivery_stats_minutes_check CHECK (minutes IN (5, 60)),
    CONSTRAINT delivery_stats_status_check CHECK (status IN ('sent', 'retrying', 'failed')),
    CONSTRAINT delivery_stats_failure_reason_check CHECK ((status = 'failed') = (failure_reason <> ''))
) WITH (fillfactor = 50);
-- Finds what is to be summed up, and what is too old. Nothing that is counted is in it,
-- so that counting is a HOT update.
CREATE INDEX delivery_stats_age_idx ON sonicus.delivery_stats (minutes, starts_at);

CREATE FUNCTION sonicus.add_counts(a integer[], b integer[]) RETURNS integer[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(array_agg(coalesce(x, 0) + coalesce(y, 0) ORDER BY n), '{}') FROM unnest(a, b) WITH ORDINALITY AS u (x, y, n));

CREATE AGGREGATE sonicus.sum_counts(integer[]) (SFUNC = sonicus.add_counts, STYPE = integer[], INITCOND = '{}', PARALLEL = SAFE);

COMMENT ON TABLE sonicus.delivery_stats IS 'What became of deliveries, summed up over five minutes, and over an hour once that is over for an hour; kept for eight days. Dispatchers add to it every few seconds, so a crash can lose as much of it.';
COMMENT ON COLUMN sonicus.delivery_stats.endpoint_id IS 'The endpoint; the nil UUID: all endpoints together.';
COMMENT ON COLUMN sonicus.delivery_stats.starts_at IS 'Begin of the time that the row is about.';
COMMENT ON COLUMN sonicus.delivery_stats.minutes IS 'Length of that time: 5 or 60.';
COMMENT ON COLUMN sonicus.delivery_stats.status IS 'What an attempt made of its delivery: sent, retrying (it failed, and another follows) or failed (given up).';
COMMENT ON COLUMN sonicus.delivery_stats.failure_reason IS 'Why it was given up, as in deliveries; empty unless failed.';
COMMENT ON COLUMN sonicus.delivery_stats.deliveries IS 'How often that happened.';
COMMENT ON COLUMN sonicus.delivery_stats.attempts IS 'Requests made for it: as many, but none where deliveries ended without one (endpoint_deleted).';
COMMENT ON COLUMN sonicus.delivery_stats.possible_duplicates IS 'Those of the attempts that may have been a second one (attempts.took_over).';
COMMENT ON COLUMN sonicus.delivery_stats.response_times IS 'Attempts that were answered, by response time: the first number counts those below 0.1 ms, and the nth those from 0.1 * 1.2 ^ (n - 2) ms to 1.2 times that. Zeros at the end are left out.';
COMMENT ON FUNCTION sonicus.add_counts IS 'Adds two arrays number by number; the shorter one is filled up with zeros.';
COMMENT ON AGGREGATE sonicus.sum_counts(integer[]) IS 'Adds arrays number by number; the shorter ones are filled up with zeros.';

-- +goose Down
DROP TABLE sonicus.delivery_stats;
DROP AGGREGATE sonicus.sum_counts(integer[]);
DROP FUNCTION sonicus.add_counts;
