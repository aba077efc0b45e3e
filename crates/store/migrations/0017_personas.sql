-- Skills that the owner approved, and where agents come from that were made from a template.

CREATE TABLE skills (
    name        TEXT PRIMARY KEY,
    -- The hash over the files that are in force, and how often they changed before.
    hash        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    description TEXT NOT NULL,
    -- Where they came from, for people and for a later update.
    source      TEXT NOT NULL,
    -- The files, and what was shown before the yes; as JSON.
    about       TEXT NOT NULL,
    -- Who said yes to what is in force, and when.
    actor       TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    approved_ms INTEGER NOT NULL
) STRICT;

-- The files of what is in force, as an archive: each daemon lays them out in its own home.
CREATE TABLE skill_bodies (
    hash    TEXT PRIMARY KEY,
    archive BLOB NOT NULL
) STRICT;

-- What was in force when: so that an old one that comes again is seen.
CREATE TABLE skill_versions (
    name        TEXT NOT NULL REFERENCES skills (name) ON DELETE CASCADE,
    version     INTEGER NOT NULL,
    hash        TEXT NOT NULL,
    source      TEXT NOT NULL,
    actor       TEXT NOT NULL,
    approved_ms INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

-- What an agent was made from: what changed since in the template, and what its owner changed, can be told apart.
CREATE TABLE agent_origins (
    agent       TEXT PRIMARY KEY REFERENCES agents (name) ON DELETE CASCADE,
    template    TEXT NOT NULL,
    -- The hash over the template as it was, the agent as it came of it, the variables that were given and what else
    -- was made; the last three as JSON.
    hash        TEXT NOT NULL,
    made        TEXT NOT NULL,
    variables   TEXT NOT NULL,
    tasks       TEXT NOT NULL,
    actor       TEXT NOT NULL,
    made_ms     INTEGER NOT NULL
) STRICT;

-- When a secret was last used, to the minute.
CREATE TABLE secret_uses (
    name    TEXT NOT NULL,
    scope   TEXT NOT NULL,
    used_ms INTEGER NOT NULL,
    PRIMARY KEY (name, scope)
) STRICT;
