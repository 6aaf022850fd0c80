-- Keys of model providers that persons and projects bring.
CREATE TABLE provider_keys (
    id uuid PRIMARY KEY,
    -- Whose turns use the key; of a project's key, who stored it.
    user_id uuid NOT NULL,
    -- The project whose turns use the key. Absent: those of the person.
    project_id uuid,
    provider text NOT NULL CHECK (provider IN ('anthropic', 'openai')),
    display_name text NOT NULL,
    -- For lists only. The address that is used is sealed together with the key.
    base_url text NOT NULL,
    last_four text NOT NULL,
    -- The key and its address, bound to this row and its owner.
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    used_at timestamptz
);

CREATE UNIQUE INDEX provider_keys_person_key ON provider_keys (user_id, provider) WHERE project_id IS NULL;
CREATE UNIQUE INDEX provider_keys_project_key ON provider_keys (project_id, provider) WHERE project_id IS NOT NULL;

-- The key that the turn uses. Absent: that of the cluster. No foreign key: a turn whose key is gone fails.
ALTER TABLE turns ADD COLUMN provider_key_id uuid;
