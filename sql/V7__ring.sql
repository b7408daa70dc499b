-- The key ring among several servers: which state of its file each has read, and the version below which no keys are written
-- any more. Locks nothing that exists.

-- One row a running server. It is about no person.
CREATE TABLE vault.nodes (
    node_id         uuid        PRIMARY KEY,
    ring_generation bigint      NOT NULL,
    seen_at         timestamptz NOT NULL
);

-- The floor: a person's keys are written under this version of the key-encryption key, or a newer one.
CREATE TABLE vault.ring_floor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  int     NOT NULL
);
INSERT INTO vault.ring_floor (version) VALUES (1);

-- The floor, for the policies on vault.subjects, so that no login has to read the table.
CREATE FUNCTION lethe.ring_floor() RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT version FROM vault.ring_floor $$;

REVOKE EXECUTE ON FUNCTION lethe.ring_floor() FROM PUBLIC;
