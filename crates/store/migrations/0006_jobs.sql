-- Jobs, their queue, and what they leave.

CREATE TABLE jobs (
    id            TEXT PRIMARY KEY,
    -- When it was accepted, in milliseconds, times 4096, and more where that is taken: numbers grow with each job.
    n             INTEGER NOT NULL,
    tenant        TEXT NOT NULL,
    agent_id      TEXT NOT NULL,
    agent         TEXT NOT NULL,
    state         TEXT NOT NULL,
    priority      INTEGER NOT NULL,
    profile       TEXT NOT NULL,
    engine        TEXT NOT NULL,
    model         TEXT NOT NULL,
    labels        TEXT NOT NULL,
    -- Those of the try that is under way, or the last one.
    session       TEXT,
    turn          TEXT,
    idem          TEXT,
    request       TEXT NOT NULL,
    fence         INTEGER NOT NULL DEFAULT 0,
    replica       TEXT,
    lease_ms      INTEGER,
    -- Whether it stands in the queue's lanes: it is queued and its time has come.
    ready         INTEGER NOT NULL,
    not_before_ms INTEGER NOT NULL,
    tries         INTEGER NOT NULL DEFAULT 0,
    retries_max   INTEGER NOT NULL,
    -- How often its daemon ended while it stood at `progress`, the number of its session's last event.
    deaths        INTEGER NOT NULL DEFAULT 0,
    progress      INTEGER NOT NULL DEFAULT 0,
    exit_code     INTEGER,
    code          TEXT,
    error         TEXT,
    usage         TEXT NOT NULL,
    cost          INTEGER NOT NULL DEFAULT 0,
    webhook_url   TEXT,
    webhook_key   TEXT,
    traceparent   TEXT,
    created_ms    INTEGER NOT NULL,
    started_ms    INTEGER,
    finished_ms   INTEGER
) STRICT;
CREATE UNIQUE INDEX jobs_n ON jobs (n);
CREATE UNIQUE INDEX jobs_idem ON jobs (tenant, idem) WHERE idem IS NOT NULL;
CREATE INDEX jobs_tenant ON jobs (tenant, n);
CREATE INDEX jobs_state ON jobs (state, n);
CREATE INDEX jobs_tenant_state ON jobs (tenant, state, n);
CREATE INDEX jobs_agent ON jobs (agent_id, n);
CREATE INDEX jobs_profile ON jobs (profile, n);
CREATE INDEX jobs_engine ON jobs (engine, n);
CREATE INDEX jobs_session ON jobs (session) WHERE session IS NOT NULL;
CREATE INDEX jobs_lane ON jobs (tenant, priority, agent_id, n) WHERE ready = 1;
CREATE INDEX jobs_delayed ON jobs (not_before_ms) WHERE state = 'queued' AND ready = 0;
CREATE INDEX jobs_live ON jobs (replica, tenant, agent_id) WHERE state IN ('running', 'waiting');
CREATE INDEX jobs_finished ON jobs (finished_ms) WHERE finished_ms IS NOT NULL;

-- Apart from the job, so that lists do not drag it along.
CREATE TABLE job_forms (
    job      TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    form     TEXT NOT NULL,
    resolved TEXT NOT NULL,
    prompt   BLOB NOT NULL
) STRICT;

CREATE TABLE job_labels (
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    n     INTEGER NOT NULL REFERENCES jobs (n) ON DELETE CASCADE,
    PRIMARY KEY (name, value, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_labels_n ON job_labels (n);

-- The session of each try.
CREATE TABLE job_tries (
    job     TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    n       INTEGER NOT NULL,
    session TEXT NOT NULL,
    PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_tries_session ON job_tries (session);

-- Files that come with a job, its text, its output and its artifacts: small ones here, others in files named by their hash.
CREATE TABLE job_blobs (
    job   TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind  TEXT NOT NULL,
    path  TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    hash  TEXT,
    body  BLOB,
    PRIMARY KEY (job, kind, path)
) STRICT;
CREATE INDEX job_blobs_hash ON job_blobs (hash) WHERE hash IS NOT NULL;

-- Who waits, and who was served when: numbers of the queue's own clock.
CREATE TABLE job_shelves (
    tenant   TEXT NOT NULL,
    priority INTEGER NOT NULL,
    waiting  INTEGER NOT NULL,
    served   INTEGER NOT NULL,
    PRIMARY KEY (tenant, priority)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_shelves_next ON job_shelves (priority, served) WHERE waiting > 0;

CREATE TABLE job_lanes (
    tenant   TEXT NOT NULL,
    priority INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    waiting  INTEGER NOT NULL,
    served   INTEGER NOT NULL,
    PRIMARY KEY (tenant, priority, agent_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_lanes_next ON job_lanes (tenant, priority, served) WHERE waiting > 0;
CREATE INDEX job_lanes_agent ON job_lanes (tenant, agent_id);

CREATE TABLE job_clock (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    served INTEGER NOT NULL
) STRICT;
INSERT INTO job_clock (id, served) VALUES (1, 0);

CREATE TABLE job_counts (
    tenant TEXT NOT NULL,
    state  TEXT NOT NULL,
    jobs   INTEGER NOT NULL,
    PRIMARY KEY (tenant, state)
) STRICT, WITHOUT ROWID;
