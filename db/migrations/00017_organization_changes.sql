-- Owner: pkg/organization.
--
-- An organization that is deleted stays as a row, because endpoints and the books name
-- it. What it says of the organization is erased, and its id takes the place of the
-- domain: it is unique, and no domain, so that the real one is free again.

-- +goose Up
ALTER TABLE sonicus.organizations ADD deleted_at timestamptz;
-- Those that were deleted before the schema was taken back.
UPDATE sonicus.organizations SET deleted_at = updated_at WHERE domain = id::text;
ALTER TABLE sonicus.organizations
    ADD CONSTRAINT organizations_deleted_check CHECK (deleted_at IS NULL OR (name = '' AND display_name = '' AND domain = id::text AND primary_contact_email = ''
                                                                            AND industry IS NULL AND company_size IS NULL));
CREATE INDEX users_organization_idx ON sonicus.users (organization_id, id);

COMMENT ON COLUMN sonicus.organizations.deleted_at IS 'Set: deleted, its texts erased and its users gone; kept for the endpoints and events that name it.';
COMMENT ON COLUMN sonicus.organizations.domain IS 'Lower-case DNS name (A-labels), unique; the id once it is deleted.';
COMMENT ON COLUMN sonicus.organizations.max_users IS 'Seats, at least 1. There can be more users when it was lowered, but none is added then.';
COMMENT ON COLUMN sonicus.organizations.updated_at IS 'Time of the last change. Later with every change, by a microsecond at least: it is the version.';
COMMENT ON COLUMN sonicus.users.updated_at IS 'Time of the last change. Later with every change, by a microsecond at least: it is the version.';

-- +goose Down
COMMENT ON COLUMN sonicus.users.updated_at IS 'Transaction time of the last change.';
COMMENT ON COLUMN sonicus.organizations.updated_at IS 'Transaction time of the last change.';
COMMENT ON COLUMN sonicus.organizations.max_users IS 'Seats, at least 1.';
COMMENT ON COLUMN sonicus.organizations.domain IS 'Lower-case DNS name (A-labels), unique.';
DROP INDEX sonicus.users_organization_idx;
ALTER TABLE sonicus.organizations
    DROP CONSTRAINT organizations_deleted_check,
    DROP COLUMN deleted_at;
