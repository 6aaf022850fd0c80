-- Why a turn failed, so that its conversation can say so; empty for other ends and from releases that do not tell it.
ALTER TABLE turns ADD COLUMN failure_reason text NOT NULL DEFAULT '';
