-- The first schema. Ids are text (UUIDv7 in hex, so they sort by time of making), times are milliseconds since 1970 in
-- UTC, money is in billionths of a US dollar, and structured columns are JSON text.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id             TEXT PRIMARY KEY,
    engine         TEXT NOT NULL,
    model          TEXT NOT NULL,
    provider       TEXT NOT NULL,
    engine_session TEXT,
    labels         TEXT NOT NULL,
    spec           TEXT NOT NULL,
    created_ms     INTEGER NOT NULL,
    updated_ms     INTEGER NOT NULL,
    -- The last fencing number, turn number and event number that were given out.
    last_fence     INTEGER NOT NULL DEFAULT 0,
    last_turn      INTEGER NOT NULL DEFAULT 0,
    last_seq       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE turns (
    id          TEXT PRIMARY KEY,
    session     TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    n           INTEGER NOT NULL,
    state       TEXT NOT NULL,
    fence       INTEGER NOT NULL DEFAULT 0,
    tries       INTEGER NOT NULL DEFAULT 0,
    -- The number of the last frame from the guest whose events are in the log.
    spool       INTEGER NOT NULL DEFAULT 0,
    idem        TEXT,
    spec        TEXT NOT NULL,
    sandbox     TEXT,
    outcome     TEXT,
    code        TEXT,
    accepted_ms INTEGER NOT NULL,
    leased_ms   INTEGER,
    started_ms  INTEGER,
    ended_ms    INTEGER,
    UNIQUE (session, n)
) STRICT;
CREATE UNIQUE INDEX turns_idem ON turns (session, idem) WHERE idem IS NOT NULL;
CREATE INDEX turns_open ON turns (session, n) WHERE state IN ('queued', 'leased', 'running', 'waiting');

-- Apart from the turn, so that reading turns does not drag prompts of any size along.
CREATE TABLE prompts (
    turn TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE events (
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    turn    TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

-- What was spent outlives the session that spent it, so there is no reference.
CREATE TABLE calls (
    id           INTEGER PRIMARY KEY,
    session      TEXT NOT NULL,
    turn         TEXT,
    provider     TEXT NOT NULL,
    model        TEXT NOT NULL,
    input        INTEGER NOT NULL,
    output       INTEGER NOT NULL,
    cache_read   INTEGER NOT NULL,
    cache_write  INTEGER NOT NULL,
    cost         INTEGER NOT NULL,
    reserved     INTEGER NOT NULL,
    estimated    INTEGER NOT NULL,
    time_ms      INTEGER NOT NULL
) STRICT;
CREATE INDEX calls_session ON calls (session);
CREATE INDEX calls_time ON calls (time_ms);

CREATE TABLE budgets (
    scope      TEXT PRIMARY KEY,
    -- Settled cost and the whole of every open slab.
    spent      INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE slabs (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    scope     TEXT NOT NULL REFERENCES budgets (scope),
    amount    INTEGER NOT NULL,
    used      INTEGER,
    opened_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE keyring (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    source  TEXT NOT NULL,
    kdf     TEXT,
    nonce   BLOB NOT NULL,
    wrapped BLOB NOT NULL
) STRICT;

CREATE TABLE secrets (
    name       TEXT NOT NULL,
    scope      TEXT NOT NULL,
    nonce      BLOB NOT NULL,
    sealed     BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (name, scope)
) STRICT, WITHOUT ROWID;
