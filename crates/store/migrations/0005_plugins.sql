-- Plugins that were put in place, and what of each the owner has approved. The files are the home's; here stands what they
-- must still be.

CREATE TABLE plugins (
    name        TEXT PRIMARY KEY,
    -- `folder` for one that the owner put into the home, `shipped`, or where it was installed from.
    source      TEXT NOT NULL,
    -- Over all files of its folder, as they were installed or first seen.
    folder_hash TEXT NOT NULL,
    is_enabled  INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
    -- What the owner approved, and what was seen last: definitions by key, and a hash over them.
    approved      TEXT NOT NULL,
    approved_hash TEXT NOT NULL,
    seen          TEXT NOT NULL,
    seen_hash     TEXT NOT NULL,
    installed_ms  INTEGER NOT NULL,
    approved_ms   INTEGER NOT NULL
) STRICT;
