-- What agents remember. Whose it is (tenant and agent) is a number that is part of every word of the index, so no search
-- of one agent touches a list of another.

CREATE TABLE memory_owners (
    id      INTEGER PRIMARY KEY,
    tenant  TEXT NOT NULL,
    agent   TEXT NOT NULL,
    -- Rows of any state, and the bytes of their texts and tags: what the limits are held against.
    entries INTEGER NOT NULL DEFAULT 0,
    bytes   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, agent)
) STRICT;

CREATE TABLE memories (
    -- The place in the index; never given out twice.
    n               INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    owner           INTEGER NOT NULL REFERENCES memory_owners (id),
    kind            TEXT NOT NULL CHECK (kind IN ('preference', 'instruction', 'correction', 'fact', 'context')),
    -- Whether it could change what an agent does: then it waits for a person.
    behavioural     INTEGER NOT NULL,
    content         TEXT NOT NULL,
    tags            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('live', 'superseded', 'deleted', 'withdrawn')),
    author          TEXT NOT NULL CHECK (author IN ('agent', 'owner')),
    -- Where it came from. No references: what is remembered outlives the session.
    session         TEXT,
    turn            TEXT,
    turn_n          INTEGER,
    grp             TEXT,
    channel         TEXT,
    created_ms      INTEGER NOT NULL,
    confirmed_ms    INTEGER,
    supersedes      TEXT,
    -- How many it superseded, one after the other.
    depth           INTEGER NOT NULL,
    superseded_ms   INTEGER,
    -- The turn that deleted it; a person's deletion removes the row.
    deleted_session TEXT,
    deleted_turn    INTEGER,
    deleted_ms      INTEGER,
    -- The turn that wrote it was undone.
    withdrawn       INTEGER NOT NULL DEFAULT 0,
    -- Since when it is not live.
    left_ms         INTEGER
) STRICT;
CREATE INDEX memories_owner ON memories (owner, n);
CREATE INDEX memories_behavioural ON memories (owner, n) WHERE behavioural = 1 AND state = 'live';
CREATE INDEX memories_session ON memories (session) WHERE session IS NOT NULL;
CREATE INDEX memories_deleted ON memories (deleted_session) WHERE deleted_session IS NOT NULL;
CREATE INDEX memories_supersedes ON memories (supersedes) WHERE supersedes IS NOT NULL;
CREATE INDEX memories_left ON memories (left_ms) WHERE left_ms IS NOT NULL;

-- Each word stands here with its owner's number and the state in front of it. The host cuts texts into words; here they
-- are taken as they are.
CREATE VIRTUAL TABLE memory_index USING fts5 (words, content = '', contentless_delete = 1, tokenize = 'ascii');

-- In how many live entries of an owner a word stands: which words of a question tell the most is known before any list is read.
CREATE TABLE memory_words (
    owner INTEGER NOT NULL,
    word  TEXT NOT NULL,
    docs  INTEGER NOT NULL,
    PRIMARY KEY (owner, word)
) STRICT, WITHOUT ROWID;

-- What a session was told of its agent's memory when it began.
CREATE TABLE memory_briefs (
    session TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    owner   INTEGER,
    text    TEXT NOT NULL,
    made_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
