-- The vault: each person's keys, wrapped by a key of the ring that lives outside the database. Locks nothing that exists.
CREATE SCHEMA vault;

-- One row a living person. Destroying it is the erasure.
CREATE TABLE vault.subjects (
    subject_id       uuid PRIMARY KEY,
    ring_version     int    NOT NULL,
    wrapping_version bigint NOT NULL,
    index_key        bytea  NOT NULL,
    trail_key        bytea  NOT NULL,
    wrapping_key     bytea  NOT NULL
);

-- The register of living records: the record's key, wrapped by the person's wrapping key, and keyed hashes of its natural
-- key and of the quarter it lies in.
CREATE TABLE vault.records (
    subject_id  uuid  NOT NULL REFERENCES vault.subjects ON DELETE CASCADE,
    record_id   uuid  NOT NULL,
    kind        text  NOT NULL,
    key_hash    bytea NOT NULL,
    bucket      bytea,
    wrapped_key bytea NOT NULL,
    PRIMARY KEY (subject_id, record_id),
    UNIQUE (subject_id, kind, key_hash)
);
