-- Speed of the queue and of lists.

-- The turn as whose end the session's own tree stands untouched, where its checkpoint was put off. Whoever works in the
-- tree next takes it first.
ALTER TABLE sessions ADD COLUMN left_turn INTEGER;
