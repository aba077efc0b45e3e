-- Work that is done at set times, and what came of each time.

CREATE TABLE tasks (
    id           TEXT PRIMARY KEY,
    tenant       TEXT NOT NULL,
    name         TEXT NOT NULL,
    -- Five or six fields, and the IANA zone that they are read in.
    cron         TEXT NOT NULL,
    zone         TEXT NOT NULL,
    -- `skip`, `once` or `all`; `skip`, `queue` or `parallel`.
    misfire      TEXT NOT NULL,
    overlap      TEXT NOT NULL,
    -- What is done: a job or a message, as JSON.
    action       TEXT NOT NULL,
    -- `active`, `paused` by a person, `broken` after too many failures, or `over` when it is never due again.
    state        TEXT NOT NULL,
    note         TEXT,
    created_ms   INTEGER NOT NULL,
    changed_ms   INTEGER NOT NULL,
    -- The next time that has no row yet; null when there is none.
    due_ms       INTEGER,
    -- Failures one after the other, and how many of them stop it.
    failures     INTEGER NOT NULL,
    failures_max INTEGER NOT NULL,
    -- Not begun before this time, after a failure.
    hold_ms      INTEGER NOT NULL,
    -- 1 for one that the owner made: what its work may do is what its maker may.
    is_owners    INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

CREATE INDEX tasks_due ON tasks (due_ms, id) WHERE state = 'active';

CREATE TABLE task_runs (
    id           TEXT PRIMARY KEY,
    task         TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    tenant       TEXT NOT NULL,
    -- The due time, or the time it was asked for by hand.
    due_ms       INTEGER NOT NULL,
    -- 1 for a run that somebody asked for.
    by_hand      INTEGER NOT NULL,
    -- `due`, `begun`, `done`, `failed` or `skipped`.
    state        TEXT NOT NULL,
    -- What it made: a job, or a session and a turn.
    job          TEXT,
    session      TEXT,
    turn         TEXT,
    -- Not begun before this time.
    wake_ms      INTEGER NOT NULL,
    tries        INTEGER NOT NULL,
    begun_ms     INTEGER,
    ended_ms     INTEGER,
    note         TEXT,
    UNIQUE (task, due_ms, by_hand)
) STRICT;

CREATE INDEX task_runs_open ON task_runs (wake_ms, id) WHERE state = 'due';
CREATE INDEX task_runs_begun ON task_runs (task, id) WHERE state = 'begun';
CREATE INDEX task_runs_job ON task_runs (job) WHERE state = 'begun';
CREATE INDEX task_runs_turn ON task_runs (turn) WHERE state = 'begun';
CREATE INDEX task_runs_task ON task_runs (task, id);
CREATE INDEX task_runs_ended ON task_runs (ended_ms) WHERE state IN ('done', 'failed', 'skipped');
