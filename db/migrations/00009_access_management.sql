-- Owner: pkg/access.
--
-- Each filter of the audit trail has an index in the order of the list, so that no
-- question reads more of the trail than it answers with. Times need none: the
-- primary key is in their order.

-- +goose Up
CREATE INDEX audit_log_object_idx ON sonicus.audit_log (object_id, id);
CREATE INDEX audit_log_actor_idx ON sonicus.audit_log (actor, id);
CREATE INDEX audit_log_action_idx ON sonicus.audit_log (action, id);
CREATE INDEX audit_log_object_type_idx ON sonicus.audit_log (object_type, id);

COMMENT ON COLUMN sonicus.audit_log.api_key_id IS 'The API key used, NULL for JWTs, the bootstrap key and the command line.';
COMMENT ON COLUMN sonicus.audit_log.actor IS 'Name of the key, subject of the JWT, or what else acted.';

-- +goose Down
COMMENT ON COLUMN sonicus.audit_log.actor IS 'Name of the key, or what else acted.';
COMMENT ON COLUMN sonicus.audit_log.api_key_id IS 'The API key used, NULL for the command line.';
DROP INDEX sonicus.audit_log_object_type_idx;
DROP INDEX sonicus.audit_log_action_idx;
DROP INDEX sonicus.audit_log_actor_idx;
DROP INDEX sonicus.audit_log_object_idx;
