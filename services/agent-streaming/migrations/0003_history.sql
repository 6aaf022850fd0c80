-- The messages that the turn tells the model, the oldest first: every owner tells the same. Absent before it has started and after
-- it has ended, and for a turn that the release before has started.
ALTER TABLE turns ADD COLUMN history uuid[];
