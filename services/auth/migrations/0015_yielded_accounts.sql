-- An entry that keeps the account: somebody else has proved its address, and the keys that its person before has stored elsewhere go.
alter table account_deletions add column only_keys boolean not null default false;
