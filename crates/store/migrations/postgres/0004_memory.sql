-- The words of each entry, as the host cut them.
CREATE TABLE memory_index (
    rowid BIGINT PRIMARY KEY,
    words TSVECTOR NOT NULL
);
CREATE INDEX memory_index_words ON memory_index USING gin (words) WITH (fastupdate = off);
