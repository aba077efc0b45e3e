-- What people are asked before a call is made, and the chain of what was decided.

-- For how long a turn has waited for people in all, and since when it waits now.
ALTER TABLE turns ADD COLUMN waited_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN waiting_ms INTEGER;
UPDATE turns SET
    waited_ms = coalesce((SELECT sum(max(q.answered_ms - q.asked_ms, 0)) FROM questions q
        WHERE q.turn = turns.id AND q.answered_ms IS NOT NULL), 0),
    waiting_ms = CASE state WHEN 'waiting' THEN
        (SELECT max(q.asked_ms) FROM questions q WHERE q.turn = turns.id AND q.answered_ms IS NULL) END
WHERE state IN ('leased', 'running', 'waiting');

CREATE TABLE approvals (
    id          TEXT PRIMARY KEY,
    -- Null for a call of the owner's own, which belongs to no session.
    session     TEXT REFERENCES sessions (id) ON DELETE CASCADE,
    turn        TEXT,
    tenant      TEXT NOT NULL,
    agent       TEXT NOT NULL,
    tool        TEXT NOT NULL,
    plugin      TEXT NOT NULL,
    correlation TEXT NOT NULL,
    arguments   TEXT NOT NULL,
    -- What a person is shown.
    text        TEXT NOT NULL,
    -- What an answer is bound to: session, tool and arguments.
    hash        TEXT NOT NULL,
    risk        TEXT NOT NULL,
    state       TEXT NOT NULL
        CHECK (state IN ('pending', 'approved', 'begun', 'finished', 'denied', 'expired', 'cancelled')),
    -- What came of the call: {"ok": ...} or {"error": {...}}.
    outcome     TEXT,
    asked_ms    INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL,
    answered_ms INTEGER,
    answered_by TEXT,
    note        TEXT,
    used_ms     INTEGER,
    finished_ms INTEGER
) STRICT;
-- The same call is asked about once.
CREATE UNIQUE INDEX approvals_call ON approvals (coalesce(session, ''), correlation, hash);
CREATE INDEX approvals_session ON approvals (session, asked_ms);
CREATE INDEX approvals_open ON approvals (expires_ms) WHERE state IN ('pending', 'approved');

-- Dense and append-only; each row holds the hash of the one before.
CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY,
    time_ms     INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    -- No references: a row outlives what it speaks of.
    session     TEXT,
    turn        TEXT,
    actor       TEXT NOT NULL,
    topic       TEXT NOT NULL,
    correlation TEXT,
    stage       INTEGER,
    outcome     TEXT NOT NULL,
    code        TEXT,
    detail      TEXT,
    prev        BLOB NOT NULL,
    hash        BLOB NOT NULL
) STRICT;
CREATE INDEX audit_session ON audit (session, seq) WHERE session IS NOT NULL;
