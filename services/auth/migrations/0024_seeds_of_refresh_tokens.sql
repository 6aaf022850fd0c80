-- For the housekeeping: the seeds that are no longer needed.

create index refresh_tokens_seed_idx on refresh_tokens (used_at) where seed is not null;
