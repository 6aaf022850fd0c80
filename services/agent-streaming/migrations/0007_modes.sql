-- What the turn may do. The constant default rewrites nothing.
ALTER TABLE turns ADD COLUMN mode text NOT NULL DEFAULT 'build' CHECK (mode IN ('build', 'ask', 'plan'));
-- The steps that the turn carries out: the answer of a turn in mode plan. Absent for most turns, and after
-- the end of the turn.
ALTER TABLE turns ADD COLUMN plan text;
