-- The tree over the log (RFC 6962): its leaves are the events in the order in which readers see them, integrated behind the
-- commands. What it holds are hashes and signed notes; a restore of an old backup opens a new tree behind the one that it
-- could not go on with. Adds one constraint to log.events, which is checked under a short lock on it.

-- One row a tree, the newest of which grows. A row is locked by whoever integrates, and moves in the transaction that stores
-- the tiles.
CREATE TABLE log.trees (
    tree     bigint      PRIMARY KEY CHECK (tree >= 1),
    origin   text        NOT NULL UNIQUE,
    -- So many events of the log come before its first leaf.
    begins   bigint      NOT NULL CHECK (begins >= 0),
    size     bigint      NOT NULL DEFAULT 0 CHECK (size >= 0),
    -- Up to where the log is integrated.
    txid     xid8        NOT NULL DEFAULT '0',
    position bigint      NOT NULL DEFAULT 0,
    moved_at timestamptz NOT NULL
) WITH (fillfactor = 20);

-- C2SP tlog-tiles: up to 256 hashes each, those of level 0 of leaves, the rightmost of a level partly filled.
CREATE TABLE log.tiles (
    tree   bigint   NOT NULL REFERENCES log.trees,
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    tile   bigint   NOT NULL CHECK (tile >= 0),
    hashes bytea    NOT NULL CHECK (length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0),
    PRIMARY KEY (tree, level, tile)
);
-- Hashes do not compress.
ALTER TABLE log.tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Where in the log the first leaf of each 256 stands; the others follow it in order, so that this fixes every leaf's index.
CREATE TABLE log.bundles (
    tree     bigint NOT NULL REFERENCES log.trees,
    bundle   bigint NOT NULL CHECK (bundle >= 0),
    txid     xid8   NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tree, bundle)
);
CREATE INDEX bundles_txid_position ON log.bundles (txid, position);

-- C2SP tlog-checkpoint: signed notes, with the cosignatures that came in; published where enough witnesses have cosigned.
CREATE TABLE log.checkpoints (
    tree      bigint      NOT NULL REFERENCES log.trees,
    size      bigint      NOT NULL CHECK (size >= 1),
    root      bytea       NOT NULL CHECK (length(root) = 32),
    note      text        NOT NULL,
    witnessed boolean     NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (tree, size)
);

-- A leaf has to fit an entry bundle, whose entries are at most 65,535 bytes long. Bodies are far shorter.
ALTER TABLE log.events ADD CONSTRAINT events_fit_a_leaf
    CHECK (octet_length(payload::text) + octet_length(metadata::text) + octet_length(aggregate_id) <= 64000);
