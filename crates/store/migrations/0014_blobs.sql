-- What is long of what jobs bring and leave, where several daemons share a database: each of them can read all of it.

-- Those that are whole.
CREATE TABLE shelf (
    hash    TEXT PRIMARY KEY,
    pieces  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    -- When it was last put here.
    put_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX shelf_put ON shelf (put_ms);

-- Their bytes, also of what is not whole yet.
CREATE TABLE shelf_pieces (
    hash    TEXT NOT NULL,
    n       INTEGER NOT NULL,
    body    BLOB NOT NULL,
    put_ms  INTEGER NOT NULL,
    PRIMARY KEY (hash, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX shelf_pieces_put ON shelf_pieces (put_ms);

-- When a daemon ended in order; null while it is up, and after it was killed.
ALTER TABLE replicas ADD COLUMN stopped_ms INTEGER;
