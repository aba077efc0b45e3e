-- The daemons that share a database, and whose sandboxes a session's work is in.

CREATE TABLE replicas (
    id           TEXT PRIMARY KEY,
    host         TEXT NOT NULL,
    home         TEXT NOT NULL,
    -- When it last said that it lives, by the database's clock.
    heartbeat_ms INTEGER NOT NULL,
    started_ms   INTEGER NOT NULL
) STRICT;

-- The replica whose machine has the session's files; null where there is only one.
ALTER TABLE sessions ADD COLUMN host TEXT;
CREATE INDEX sessions_host ON sessions (host) WHERE host IS NOT NULL;
-- The same of an env.
ALTER TABLE envs ADD COLUMN host TEXT;
