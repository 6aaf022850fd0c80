-- The turn commits only files without errors.
ALTER TABLE turns ADD COLUMN require_clean_files boolean NOT NULL DEFAULT false;
