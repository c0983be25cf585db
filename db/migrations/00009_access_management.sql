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

-- +goose Down
DROP INDEX sonicus.audit_log_object_type_idx;
DROP INDEX sonicus.audit_log_action_idx;
DROP INDEX sonicus.audit_log_actor_idx;
DROP INDEX sonicus.audit_log_object_idx;
