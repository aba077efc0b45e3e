-- Branch agents on several repositories at once.

-- The repositories beside the first one, as JSON: what each is called, where it lies, and where its branch stands. Null where there is one alone.
ALTER TABLE branches ADD COLUMN also TEXT;

-- A merge into several repositories that was begun, as JSON; null where none is.
ALTER TABLE branches ADD COLUMN merging TEXT;
