-- Owner: pkg/organization.

-- +goose Up
CREATE TABLE sonicus.organizations (
    id                    uuid        NOT NULL,
    name                  text        NOT NULL,
    display_name          text        NOT NULL,
    domain                text        NOT NULL,
    primary_contact_email text        NOT NULL,
    subscription_tier     text        NOT NULL,
    subscription_status   text        NOT NULL,
    max_users             integer     NOT NULL,
    industry              text,
    company_size          text,
    created_at            timestamptz NOT NULL,
    trial_end_date        timestamptz,
    updated_at            timestamptz NOT NULL,
    CONSTRAINT organizations_pkey PRIMARY KEY (id),
    CONSTRAINT organizations_domain_key UNIQUE (domain),
    CONSTRAINT organizations_max_users_check CHECK (max_users >= 1)
);

CREATE TABLE sonicus.users (
    id              uuid        NOT NULL,
    organization_id uuid        NOT NULL,
    email           text        NOT NULL,
    full_name       text        NOT NULL,
    role            text        NOT NULL DEFAULT 'admin',
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES sonicus.organizations (id),
    CONSTRAINT users_role_check CHECK (role IN ('admin', 'member'))
);
CREATE UNIQUE INDEX users_email_key ON sonicus.users (organization_id, lower(email));

COMMENT ON TABLE sonicus.organizations IS 'One row per organization. Written in the same transaction as its organization.created event.';
COMMENT ON COLUMN sonicus.organizations.id IS 'uuidv7, made from the database''s clock.';
COMMENT ON COLUMN sonicus.organizations.name IS 'Legal or short name.';
COMMENT ON COLUMN sonicus.organizations.display_name IS 'Name shown to people; the name when none was given.';
COMMENT ON COLUMN sonicus.organizations.domain IS 'Lower-case DNS name (A-labels), unique.';
COMMENT ON COLUMN sonicus.organizations.primary_contact_email IS 'Address of the main contact.';
COMMENT ON COLUMN sonicus.organizations.subscription_tier IS 'Plan, for example starter or premium.';
COMMENT ON COLUMN sonicus.organizations.subscription_status IS 'State of the subscription, for example trial or active.';
COMMENT ON COLUMN sonicus.organizations.max_users IS 'Seats, at least 1.';
COMMENT ON COLUMN sonicus.organizations.industry IS 'Free text, NULL when unknown.';
COMMENT ON COLUMN sonicus.organizations.company_size IS 'Head count as a range such as 50-100, NULL when unknown.';
COMMENT ON COLUMN sonicus.organizations.created_at IS 'Transaction time of the creation; the event carries the same instant.';
COMMENT ON COLUMN sonicus.organizations.trial_end_date IS 'End of the trial, NULL when there is none.';
COMMENT ON COLUMN sonicus.organizations.updated_at IS 'Transaction time of the last change.';
COMMENT ON TABLE sonicus.users IS 'People of an organization; onboarding writes the first admin.';
COMMENT ON COLUMN sonicus.users.id IS 'uuidv7.';
COMMENT ON COLUMN sonicus.users.organization_id IS 'The organization that the person belongs to.';
COMMENT ON COLUMN sonicus.users.email IS 'Address, unique within the organization whatever its case.';
COMMENT ON COLUMN sonicus.users.full_name IS 'Name shown to people.';
COMMENT ON COLUMN sonicus.users.role IS 'admin or member.';
COMMENT ON COLUMN sonicus.users.created_at IS 'Transaction time of the creation.';
COMMENT ON COLUMN sonicus.users.updated_at IS 'Transaction time of the last change.';

-- +goose Down
DROP TABLE sonicus.users;
DROP TABLE sonicus.organizations;
