-- Who keeps how many sandboxes ready, and what lists of one tenant's jobs are read by.

CREATE TABLE pool_shares (
    profile TEXT NOT NULL,
    replica TEXT NOT NULL,
    -- How many it may have: others together with it never have more than the profile's target.
    members INTEGER NOT NULL,
    PRIMARY KEY (profile, replica)
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_tenant_agent ON jobs (tenant, agent_id, n);
CREATE INDEX jobs_tenant_profile ON jobs (tenant, profile, n);
CREATE INDEX jobs_tenant_engine ON jobs (tenant, engine, n);
