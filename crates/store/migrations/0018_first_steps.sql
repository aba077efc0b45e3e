-- How far the first steps came, and what was taken over from other installs.

CREATE TABLE setup_steps (
    tenant     TEXT NOT NULL,
    step       TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('done', 'skipped')),
    -- What was used for it: a name, never a credential.
    note       TEXT NOT NULL,
    changed_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, step)
) STRICT, WITHOUT ROWID;

-- One entry of another install each. What stands here is never taken over again, also when it was removed here since.
CREATE TABLE taken_over (
    tenant   TEXT NOT NULL,
    -- The kind of install.
    source   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    -- What the other install calls it.
    id       TEXT NOT NULL,
    -- What it is called here.
    made     TEXT NOT NULL,
    -- The SHA-256 of what it was.
    hash     TEXT NOT NULL,
    taken_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, source, kind, id)
) STRICT, WITHOUT ROWID;
