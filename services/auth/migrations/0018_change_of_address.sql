-- A change of the address of an account has a link, too. A release skips the purposes that it does not know, so a new one needs no migration.
alter table email_tokens drop constraint email_tokens_purpose_check;
alter table email_tokens add constraint email_tokens_purpose_check check (purpose ~ '^[a-z_]+$' and length(purpose) <= 64);
