-- One text for every spelling of an address (composed, in lower case, the domain in punycode). The release before does not write
-- it; such rows, and those whose text PostgreSQL cannot normalise, get theirs from the service. It stays empty for an account whose
-- address another account has in another spelling.

alter table users add column email_identity text constraint users_email_identity_key unique;

update users set email_identity = email_key where email_key ~ '^[!-~]+$' and email_key not like '%xn--%';

create index users_without_email_identity_idx on users (id) where email_identity is null;
