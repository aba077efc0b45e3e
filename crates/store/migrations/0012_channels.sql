-- People on chat networks, what they said, and what they are owed.

-- One account of a network.
CREATE TABLE channels (
    name       TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL REFERENCES tenants (name) ON DELETE CASCADE,
    network    TEXT NOT NULL,
    -- The folder of somebody else's program below the home's channels/, and its hash when it was added; null for what ships.
    program    TEXT,
    print      TEXT,
    config     TEXT NOT NULL,
    -- What the program said that it needs.
    about      TEXT NOT NULL,
    is_on      INTEGER NOT NULL CHECK (is_on IN (0, 1)),
    -- Where the network's own log goes on.
    cursor     TEXT,
    -- Who it is there and what the network can do, as it last said.
    me         TEXT,
    abilities  TEXT,
    -- Where several daemons share the database: the one that runs it.
    host       TEXT,
    -- The last number of the outbox.
    last_out   INTEGER NOT NULL DEFAULT 0,
    -- How many chats it has: counted along, since counting them costs what they are.
    chats      INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX channels_tenant ON channels (tenant, name);

-- A network's verified id of somebody. It is one of an account's: what one account verifies says nothing about another.
CREATE TABLE handles (
    channel    TEXT NOT NULL REFERENCES channels (name) ON DELETE CASCADE,
    handle     TEXT NOT NULL,
    -- What they call themselves there: for showing only.
    name       TEXT NOT NULL,
    member     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The platform's id of the direct chat with them, once known.
    dm         TEXT,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (channel, handle)
) STRICT, WITHOUT ROWID;
CREATE INDEX handles_member ON handles (member);

-- What somebody is to one agent, beside what they are in the tenant.
CREATE TABLE agent_people (
    tenant     TEXT NOT NULL REFERENCES tenants (name) ON DELETE CASCADE,
    agent      TEXT NOT NULL,
    member     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role       TEXT NOT NULL CHECK (role IN ('member', 'admin')),
    given_by   TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, agent, member)
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_people_member ON agent_people (member);

-- One conversation on a network.
CREATE TABLE chats (
    id         TEXT PRIMARY KEY,
    channel    TEXT NOT NULL REFERENCES channels (name) ON DELETE CASCADE,
    -- The platform's id.
    chat       TEXT NOT NULL,
    name       TEXT NOT NULL,
    is_group   INTEGER NOT NULL CHECK (is_group IN (0, 1)),
    -- What becomes of who is not known: nothing, an admission is asked for, or they are heard.
    policy     TEXT NOT NULL CHECK (policy IN ('strict', 'request', 'public')),
    -- Since when nothing of it is wanted.
    denied_ms  INTEGER,
    created_ms INTEGER NOT NULL,
    heard_ms   INTEGER NOT NULL,
    UNIQUE (channel, chat)
) STRICT;

-- Which agent hears a chat, and when.
CREATE TABLE wirings (
    id         TEXT PRIMARY KEY,
    chat       TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    agent      TEXT NOT NULL,
    engage     TEXT NOT NULL CHECK (engage IN ('pattern', 'mention', 'sticky')),
    pattern    TEXT,
    senders    TEXT NOT NULL CHECK (senders IN ('all', 'known')),
    ignored    TEXT NOT NULL CHECK (ignored IN ('drop', 'accumulate')),
    mode       TEXT NOT NULL CHECK (mode IN ('shared', 'thread', 'agent')),
    priority   INTEGER NOT NULL,
    -- Whether what other programs say is heard.
    bots       INTEGER NOT NULL CHECK (bots IN (0, 1)),
    created_ms INTEGER NOT NULL,
    UNIQUE (chat, agent)
) STRICT;

-- Where an agent may send to: the name is the permission.
CREATE TABLE destinations (
    tenant     TEXT NOT NULL REFERENCES tenants (name) ON DELETE CASCADE,
    agent      TEXT NOT NULL,
    name       TEXT NOT NULL,
    -- A chat, and perhaps a thread in it; or another agent.
    chat       TEXT REFERENCES chats (id) ON DELETE CASCADE,
    thread     TEXT,
    target     TEXT,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, agent, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX destinations_chat ON destinations (chat) WHERE chat IS NOT NULL;

-- The session of a conversation: of an agent, an agent and a chat, or an agent, a chat and a thread.
CREATE TABLE chat_sessions (
    tenant  TEXT NOT NULL,
    agent   TEXT NOT NULL,
    chat    TEXT NOT NULL,
    thread  TEXT NOT NULL,
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    PRIMARY KEY (tenant, agent, chat, thread)
) STRICT, WITHOUT ROWID;
CREATE INDEX chat_sessions_session ON chat_sessions (session);

-- What was said, once each.
CREATE TABLE inbound (
    id          TEXT PRIMARY KEY,
    channel     TEXT NOT NULL REFERENCES channels (name) ON DELETE CASCADE,
    -- The platform's ids.
    chat        TEXT NOT NULL,
    message     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    thread      TEXT,
    sender      TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    -- As the channel told it.
    body        TEXT NOT NULL,
    -- `turn`, `kept`, `dropped`, `held`, `command` or `answer`, and the gate and reason that decided it.
    outcome     TEXT NOT NULL,
    gate        TEXT,
    reason      TEXT,
    -- What a host command must know to be done once, and whether it is still to be done.
    note        TEXT,
    is_open     INTEGER NOT NULL DEFAULT 0,
    heard_ms    INTEGER NOT NULL,
    UNIQUE (channel, chat, message, kind)
) STRICT;
CREATE INDEX inbound_chat ON inbound (channel, chat, heard_ms);
CREATE INDEX inbound_open ON inbound (id) WHERE is_open = 1;
CREATE INDEX inbound_heard ON inbound (heard_ms);

-- What each wiring made of it.
CREATE TABLE routed (
    inbound TEXT NOT NULL REFERENCES inbound (id) ON DELETE CASCADE,
    agent   TEXT NOT NULL,
    outcome TEXT NOT NULL,
    gate    TEXT,
    reason  TEXT,
    -- The wiring and thread, while it is kept for a later turn.
    kept    TEXT,
    session TEXT,
    turn    TEXT,
    PRIMARY KEY (inbound, agent)
) STRICT, WITHOUT ROWID;
CREATE INDEX routed_kept ON routed (kept, inbound) WHERE kept IS NOT NULL;
CREATE INDEX routed_turn ON routed (turn) WHERE turn IS NOT NULL;

-- Who asked a turn, and where its answer goes.
CREATE TABLE askers (
    turn    TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    -- Null for somebody who is not known, in a public chat.
    member  TEXT,
    channel TEXT NOT NULL,
    chat    TEXT NOT NULL,
    thread  TEXT,
    handle  TEXT NOT NULL,
    message TEXT,
    inbound TEXT,
    -- The agents that passed it on, the first first, with spaces between them: what may be done for them is never more than with each of these.
    via     TEXT
) STRICT, WITHOUT ROWID;

-- Somebody unknown who asks to be let in.
CREATE TABLE admissions (
    id          TEXT PRIMARY KEY,
    chat        TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    agent       TEXT NOT NULL,
    handle      TEXT NOT NULL,
    name        TEXT NOT NULL,
    -- The message that is held.
    inbound     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('pending', 'allowed', 'denied')),
    answered_by TEXT,
    created_ms  INTEGER NOT NULL,
    answered_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX admissions_pending ON admissions (chat, agent, handle) WHERE state = 'pending';

-- Codes by which somebody proves that a handle or a chat is theirs.
CREATE TABLE pairings (
    id         TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL REFERENCES tenants (name) ON DELETE CASCADE,
    hash       TEXT NOT NULL,
    -- The person whom the handle is linked to, the agent whom the chat is wired to, the role that comes with it.
    member     TEXT,
    agent      TEXT,
    role       TEXT,
    channel    TEXT,
    expires_ms INTEGER NOT NULL,
    used_ms    INTEGER,
    used_by    TEXT,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX pairings_hash ON pairings (hash);

-- Wrong guesses of one handle.
CREATE TABLE pairing_guesses (
    channel  TEXT NOT NULL REFERENCES channels (name) ON DELETE CASCADE,
    handle   TEXT NOT NULL,
    count    INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (channel, handle)
) STRICT, WITHOUT ROWID;

-- One effect each, owed to a place on a network.
CREATE TABLE outbox (
    id         TEXT PRIMARY KEY,
    channel    TEXT NOT NULL REFERENCES channels (name) ON DELETE CASCADE,
    tenant     TEXT NOT NULL,
    -- Its place in the order of the account.
    n          INTEGER NOT NULL,
    -- The platform's ids.
    chat       TEXT NOT NULL,
    thread     TEXT,
    act        TEXT NOT NULL,
    -- What it is owed for; the same cause owes one.
    cause      TEXT NOT NULL UNIQUE,
    agent      TEXT,
    session    TEXT,
    turn       TEXT,
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'sending', 'sent', 'dead')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_ms     INTEGER NOT NULL,
    -- The platform's ids of what it became.
    messages   TEXT,
    error      TEXT,
    -- What it asks somebody to decide, where it is a card: it is changed to what came of it together with that.
    about      TEXT,
    -- Whether the agent has heard that it is dead.
    is_told    INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    settled_ms INTEGER
) STRICT;
CREATE INDEX outbox_open ON outbox (channel, chat, n) WHERE state IN ('waiting', 'sending');
CREATE INDEX outbox_due ON outbox (channel, due_ms) WHERE state = 'waiting';
CREATE INDEX outbox_dead ON outbox (session) WHERE state = 'dead' AND is_told = 0;
CREATE INDEX outbox_settled ON outbox (settled_ms) WHERE settled_ms IS NOT NULL;
CREATE INDEX outbox_turn ON outbox (turn) WHERE turn IS NOT NULL;
CREATE INDEX outbox_chat ON outbox (channel, chat, id);
CREATE INDEX outbox_about ON outbox (about) WHERE about IS NOT NULL;
CREATE INDEX outbox_tenant ON outbox (tenant, id);
