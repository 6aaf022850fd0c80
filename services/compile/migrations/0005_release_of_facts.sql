-- The hash of the compiler's executable that made the facts. Facts from before this column have no compiler, and are not used again.
alter table facts add column release bytea not null default '';
