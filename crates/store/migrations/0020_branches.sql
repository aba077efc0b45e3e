-- What branch agents keep beside their sessions.

-- Branches that are put into another one in their order, each on top of those before it.
CREATE TABLE merge_queues (
    id         TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    -- As in branches.
    repo       TEXT NOT NULL,
    -- The branch that they go into.
    target     TEXT NOT NULL,
    state      TEXT NOT NULL,
    -- The request that made it.
    key        TEXT NOT NULL,
    -- What was asked, and where each branch stands; as JSON.
    options    TEXT NOT NULL,
    places     TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    UNIQUE (tenant, key)
) STRICT;

CREATE INDEX merge_queues_state ON merge_queues (state);

-- What the target was moved to for the commit that was merged last: after a merge that rebases, that commit itself is not in it.
ALTER TABLE branches ADD COLUMN merged_as TEXT;
