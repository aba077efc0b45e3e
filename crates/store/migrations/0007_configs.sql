-- Profiles, engines, templates and hooks with their versions. A change is a new version; what was removed has a last
-- version that says so, and can come back.

CREATE TABLE configs (
    tenant      TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('profile', 'engine', 'template', 'hook')),
    name        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    content     TEXT NOT NULL,
    description TEXT NOT NULL,
    removed     INTEGER NOT NULL,
    -- Who made this version.
    actor       TEXT NOT NULL,
    -- When the first version was made, and this one.
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, name, version)
) STRICT;
