-- Agents that work on branches of repositories.

CREATE TABLE branches (
    id           TEXT PRIMARY KEY,
    tenant       TEXT NOT NULL,
    -- The absolute path of the repository, without a link in it.
    repo         TEXT NOT NULL,
    name         TEXT NOT NULL,
    -- The session of the agent, whose files are the clone. No cascade: who forgets the session must know of the branch.
    session      TEXT NOT NULL UNIQUE REFERENCES sessions (id),
    kind         TEXT NOT NULL,
    -- The commit that it began at, and the branch that was meant by it; null where it was none.
    base         TEXT NOT NULL,
    target       TEXT,
    -- The beginning of the first task.
    task         TEXT NOT NULL,
    -- What several agents share that were asked for the same: best of N.
    batch        TEXT,
    -- What else was asked, as JSON.
    options      TEXT NOT NULL,
    -- The last turn whose work came home, the commit that came, and the reference that has it. A note says why it is not
    -- where it was wanted, or did not come.
    home_turn    INTEGER NOT NULL DEFAULT 0,
    home_tip     TEXT,
    home_ref     TEXT,
    home_note    TEXT,
    -- Tries that failed one after the other, and not before when the next is made.
    home_tries   INTEGER NOT NULL DEFAULT 0,
    home_wake_ms INTEGER NOT NULL DEFAULT 0,
    -- What was seen when it last came home: commits since the base, changed files, files that git does not know.
    commits      INTEGER NOT NULL DEFAULT 0,
    dirty        INTEGER NOT NULL DEFAULT 0,
    untracked    INTEGER NOT NULL DEFAULT 0,
    -- The last check and what it said, the size of the changes, and the verdict of a review; as JSON, null before the first.
    checked      TEXT,
    size         TEXT,
    verdict      TEXT,
    -- The commit of the branch that was merged last, and into what.
    merged_tip   TEXT,
    merged_into  TEXT,
    created_ms   INTEGER NOT NULL,
    changed_ms   INTEGER NOT NULL,
    UNIQUE (tenant, repo, name)
) STRICT;

CREATE INDEX branches_batch ON branches (tenant, repo, batch) WHERE batch IS NOT NULL;

-- What a reader of the work says of it; it goes to the agent with the next turn.
CREATE TABLE branch_comments (
    branch     TEXT NOT NULL REFERENCES branches (id) ON DELETE CASCADE,
    n          INTEGER NOT NULL,
    -- The file, and the line in it from 1; null for the whole.
    path       TEXT,
    line       INTEGER,
    body       TEXT NOT NULL,
    -- The turn that it was sent with.
    turn       TEXT,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (branch, n)
) STRICT, WITHOUT ROWID;
