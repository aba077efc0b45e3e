-- Webhooks to be delivered. A row is written in the transaction that ends what it tells of.

CREATE TABLE webhooks (
    -- 48 bits of time and 80 bits over what it tells of, so that the same end owes one delivery only.
    id           TEXT PRIMARY KEY,
    tenant       TEXT NOT NULL,
    -- What it tells of: a job.
    job          TEXT NOT NULL,
    -- `job.completed`, `job.failed` or `job.cancelled`.
    event        TEXT NOT NULL,
    url          TEXT NOT NULL,
    -- Its host and port, so that one that is slow does not hold up the others.
    host         TEXT NOT NULL,
    -- What it is signed with, sealed; null for the tenant's own.
    secret       TEXT,
    -- The W3C trace that it belongs to.
    traceparent  TEXT,
    -- What is sent; null until the first try, which reads it from the job.
    body         BLOB,
    -- `pending`, `sent` or `dead`.
    state        TEXT NOT NULL,
    tries        INTEGER NOT NULL,
    -- Tries of a delivery that somebody asked for again count from here.
    tries_before INTEGER NOT NULL,
    -- When the next try is due; of one under way, when it counts as lost.
    due_ms       INTEGER NOT NULL,
    -- Set while a try is under way: its number, which the outcome must name.
    claim        INTEGER NOT NULL,
    is_trying    INTEGER NOT NULL DEFAULT 0,
    created_ms   INTEGER NOT NULL,
    -- From here the day of tries is counted.
    begun_ms     INTEGER NOT NULL,
    tried_ms     INTEGER,
    settled_ms   INTEGER,
    status       INTEGER,
    error        TEXT
) STRICT;

CREATE INDEX webhooks_due ON webhooks (due_ms, id) WHERE state = 'pending';
CREATE INDEX webhooks_job ON webhooks (job);
CREATE INDEX webhooks_tenant ON webhooks (tenant, id);
CREATE INDEX webhooks_settled ON webhooks (settled_ms) WHERE state <> 'pending';
