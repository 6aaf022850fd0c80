-- In a migration of its own: a statement that joins sessions and users would wait for one table and hold the other.

-- The operator who acts for the person in this session.
alter table sessions add column impersonator text
    constraint sessions_impersonator_check check (length(impersonator) between 1 and 80);
