-- The mail about a new second factor has a link that removes it. Null for other mails and tokens. A factor that is gone has no link to remove, so
-- nothing refers to its table.
alter table mail_queue add column factor_id uuid;
alter table email_tokens add column factor_id uuid;
