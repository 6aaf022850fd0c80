-- The keys of access tokens. Which one signs follows from `created_at` alone, so that every replica decides alike.

create table signing_keys (
    kid            text        not null constraint signing_keys_kid_key primary key,
    -- Uncompressed point, 65 bytes.
    public_key     bytea       not null,
    -- PKCS #8 under AES-256-GCM: nonce, ciphertext, tag. The key name is bound to it.
    sealed_private bytea       not null,
    created_at     timestamptz not null
);
