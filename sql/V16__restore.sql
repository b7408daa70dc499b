-- A restore writes down how far it has come, so that one that was killed goes on where it stopped and never begins to serve half a
-- log. Adds columns to a table of one row at most; locks nothing that anybody waits for.
ALTER TABLE lethe.restoring
    -- SHA-256 over the manifests of the two archives: a restore goes on with the archives that it began with, and no others.
    -- Absent where a version before this one began it; that one loaded all rows in the transaction that made this one.
    ADD COLUMN archives     text,
    -- `load` copies the archives' tables in, `rebuild` makes the read models, `replay` carries the ledger out again.
    ADD COLUMN step         text   NOT NULL DEFAULT 'rebuild' CHECK (step IN ('load', 'rebuild', 'replay')),
    -- How many tables are loaded, or how many read models are rebuilt.
    ADD COLUMN place        int    NOT NULL DEFAULT 0,
    -- How many rows of the table at `place` are loaded.
    ADD COLUMN rows_loaded  bigint NOT NULL DEFAULT 0,
    -- The last person whose rows of the read model at `place` are made.
    ADD COLUMN after        uuid   NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    -- Accounts and records that only the archive of the keys knew.
    ADD COLUMN lost_people  bigint NOT NULL DEFAULT 0,
    ADD COLUMN lost_records bigint NOT NULL DEFAULT 0;
