-- Organisations, the people in them, what they may use and what may be spent.

CREATE TABLE tenants (
    name       TEXT PRIMARY KEY,
    -- What people call it.
    title      TEXT NOT NULL DEFAULT '',
    state      TEXT NOT NULL CHECK (state IN ('active', 'suspended')),
    -- JSON; what is left out is not limited.
    quota      TEXT NOT NULL DEFAULT '{}',
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO tenants (name, state, created_ms, updated_ms)
    SELECT name, 'active', 0, 0 FROM (
        SELECT 'default' AS name
        UNION SELECT tenant FROM sessions
        UNION SELECT tenant FROM envs
        UNION SELECT tenant FROM tokens WHERE tenant <> '*'
    ) AS named;

-- People. Whoever was invited and has not come yet has an address and no subject.
CREATE TABLE users (
    id         TEXT PRIMARY KEY,
    issuer     TEXT NOT NULL DEFAULT '',
    subject    TEXT NOT NULL DEFAULT '',
    email      TEXT NOT NULL DEFAULT '',
    name       TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL,
    seen_ms    INTEGER
) STRICT;
CREATE UNIQUE INDEX users_subject ON users (issuer, subject) WHERE subject <> '';
CREATE UNIQUE INDEX users_invited ON users (email) WHERE subject = '';

CREATE TABLE members (
    tenant     TEXT NOT NULL REFERENCES tenants (name) ON DELETE CASCADE,
    member     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'member', 'admin', 'owner')),
    -- Whether a rule of the configuration gave the role; then the rule takes it away too.
    by_rule    INTEGER NOT NULL CHECK (by_rule IN (0, 1)),
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, member)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_member ON members (member);

-- Whose token it is, when it is a person's: it may then do no more than the person.
ALTER TABLE tokens ADD COLUMN member TEXT;
CREATE INDEX tokens_member ON tokens (member) WHERE member IS NOT NULL;

-- What may be spent, beside what sessions and jobs say of themselves: `tenant:NAME`, `agent:NAME`, `session:ID`, `job:ID`
-- or `all`, with `@day` behind it for a limit that holds each day.
CREATE TABLE budget_limits (
    name       TEXT PRIMARY KEY,
    most       INTEGER NOT NULL,
    -- `wait` or `fail`; null for what is usual.
    policy     TEXT CHECK (policy IN ('wait', 'fail')),
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whose each call was. Written with the call, since sessions and jobs go before the ledger does.
ALTER TABLE calls ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
ALTER TABLE calls ADD COLUMN agent TEXT NOT NULL DEFAULT 'default';
ALTER TABLE calls ADD COLUMN job TEXT;
ALTER TABLE calls ADD COLUMN profile TEXT;
UPDATE calls SET
    tenant = coalesce((SELECT s.tenant FROM sessions s WHERE s.id = calls.session), 'default'),
    agent = coalesce((SELECT s.agent FROM sessions s WHERE s.id = calls.session), 'default');
CREATE INDEX calls_tenant ON calls (tenant, time_ms);
