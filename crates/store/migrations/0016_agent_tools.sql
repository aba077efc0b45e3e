-- What agents do through tools of the daemon's own.

-- A question that a call of a tool asked: the same call asks once.
CREATE TABLE tool_questions (
    question    TEXT PRIMARY KEY REFERENCES questions (id) ON DELETE CASCADE,
    session     TEXT NOT NULL,
    turn        TEXT NOT NULL,
    correlation TEXT NOT NULL,
    hash        TEXT NOT NULL,
    expires_ms  INTEGER NOT NULL,
    UNIQUE (session, correlation, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX tool_questions_turn ON tool_questions (turn);

-- Where a task was made and for whom it acts.
CREATE TABLE task_places (
    task    TEXT PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
    tenant  TEXT NOT NULL,
    agent   TEXT NOT NULL,
    -- Null for somebody who is not known.
    member  TEXT,
    -- The chat that it was made in; empty where that was none.
    channel TEXT NOT NULL,
    chat    TEXT NOT NULL,
    thread  TEXT,
    handle  TEXT NOT NULL,
    -- The agents that passed it on.
    via     TEXT,
    -- The call that made it: the same call makes one.
    cause   TEXT NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;
CREATE INDEX task_places_agent ON task_places (tenant, agent);

-- A script that says whether a turn needs its engine; why it does not, or what the engine is told with the prompt.
CREATE TABLE turn_gates (
    turn   TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    script TEXT NOT NULL,
    said   TEXT,
    told   TEXT
) STRICT, WITHOUT ROWID;

-- Where the answer of a turn goes instead of where it was asked.
CREATE TABLE turn_places (
    turn    TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    n       INTEGER NOT NULL,
    channel TEXT NOT NULL,
    chat    TEXT NOT NULL,
    thread  TEXT,
    PRIMARY KEY (turn, n)
) STRICT, WITHOUT ROWID;

-- Turns that one agent asked of another.
CREATE TABLE agent_mail (
    turn    TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    -- How often it was passed on since somebody who is no agent spoke.
    hops    INTEGER NOT NULL,
    -- Which agent asked, in which session and turn; null where the answer goes to a person.
    agent   TEXT,
    session TEXT,
    asked   TEXT,
    -- The turn that the answer became.
    reply   TEXT
) STRICT, WITHOUT ROWID;

-- What an agent wants put in place, and somebody said yes to.
CREATE TABLE agent_orders (
    id         TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    agent      TEXT NOT NULL,
    session    TEXT NOT NULL,
    turn       TEXT NOT NULL,
    cause      TEXT NOT NULL UNIQUE,
    body       TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed')),
    note       TEXT,
    created_ms INTEGER NOT NULL,
    ended_ms   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_orders_open ON agent_orders (id) WHERE state = 'open';
CREATE INDEX agent_orders_agent ON agent_orders (agent, id);
