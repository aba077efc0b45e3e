-- Sessions that last: trees, checkpoints, envs, questions, agents and tokens. A tree is named here and kept elsewhere;
-- one that no row names any more is garbage.

ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT 'default';
ALTER TABLE sessions ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
-- No reference: a session outlives the env that it was in, and is then refused further turns. The name gets ` (deleted)`
-- then, so that it is nobody's, also when there is another env of the same name later.
ALTER TABLE sessions ADD COLUMN env TEXT;
-- Its own tree; null while it works in that of an env, and before it has one.
ALTER TABLE sessions ADD COLUMN tree TEXT;
ALTER TABLE sessions ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN priority INTEGER NOT NULL DEFAULT 5;
-- The turn after which the next one goes on; 0 before the first.
ALTER TABLE sessions ADD COLUMN head INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN archived_ms INTEGER;
-- The session and turn that it was forked from. No reference: the other may go first.
ALTER TABLE sessions ADD COLUMN parent TEXT;
ALTER TABLE sessions ADD COLUMN parent_turn INTEGER;
CREATE INDEX sessions_tenant ON sessions (tenant, id);
CREATE INDEX sessions_agent ON sessions (agent, id);
CREATE INDEX sessions_env ON sessions (env, id) WHERE env IS NOT NULL;
-- Two sessions that write one tree would each take back what the other did.
CREATE UNIQUE INDEX sessions_tree ON sessions (tree) WHERE tree IS NOT NULL;

-- The lease under which the engine was started that works on the turn: its own or that of an earlier turn.
ALTER TABLE turns ADD COLUMN engine_lease INTEGER NOT NULL DEFAULT 0;
-- The head of the session when the turn was leased.
ALTER TABLE turns ADD COLUMN parent INTEGER NOT NULL DEFAULT 0;
-- The engine's last frame before the turn.
ALTER TABLE turns ADD COLUMN spool_base INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN priority INTEGER NOT NULL DEFAULT 5;

-- What is there already went on turn by turn, each with an engine of its own.
UPDATE turns SET
    engine_lease = CASE WHEN state IN ('leased', 'running', 'waiting') THEN fence ELSE 0 END,
    parent = coalesce((SELECT max(b.n) FROM turns b WHERE b.session = turns.session AND b.n < turns.n AND b.tries > 0), 0)
WHERE tries > 0;
UPDATE sessions SET head = coalesce((SELECT max(n) FROM turns
    WHERE session = sessions.id AND tries > 0 AND state IN ('done', 'failed', 'cancelled')), 0);

-- Every session has files of its own from now on; those of earlier ones were kept in another way and begin empty.
UPDATE sessions SET tree = 'tre_' || substr(id, 5);

CREATE TABLE envs (
    slug        TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    tenant      TEXT NOT NULL,
    tree        TEXT NOT NULL UNIQUE,
    core_memory TEXT NOT NULL DEFAULT '',
    mounts      TEXT NOT NULL DEFAULT '[]',
    state       TEXT NOT NULL CHECK (state IN ('live', 'deleting')),
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX envs_tenant ON envs (tenant, slug);

-- The last commit in which a session changed the files of an env. It stays when the session leaves or goes. Counted in
-- commits, not in time: a clock may be set back.
CREATE TABLE env_changes (
    env     TEXT NOT NULL REFERENCES envs (slug) ON DELETE CASCADE,
    session TEXT NOT NULL,
    made    INTEGER NOT NULL,
    PRIMARY KEY (env, session)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    session        TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- The turn after which it was taken; 0 before the first.
    turn           INTEGER NOT NULL,
    tree           TEXT NOT NULL,
    engine_session TEXT,
    -- The session's last event then.
    seq            INTEGER NOT NULL,
    -- The commit that it came with.
    made           INTEGER NOT NULL,
    created_ms     INTEGER NOT NULL,
    PRIMARY KEY (session, turn)
) STRICT, WITHOUT ROWID;
CREATE INDEX checkpoints_tree ON checkpoints (tree);

CREATE TABLE questions (
    id          TEXT PRIMARY KEY,
    session     TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    turn        TEXT NOT NULL,
    text        TEXT NOT NULL,
    options     TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('open', 'answered', 'gone')),
    answer      TEXT,
    asked_ms    INTEGER NOT NULL,
    answered_ms INTEGER
) STRICT;
CREATE INDEX questions_session ON questions (session);
CREATE INDEX questions_open ON questions (session, turn) WHERE status = 'open';

CREATE TABLE agents (
    name       TEXT PRIMARY KEY,
    body       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    scope      TEXT NOT NULL,
    -- SHA-256 of the token; the token itself is nowhere.
    hash       BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_tenant ON tokens (tenant, id);
