-- Catch-up projections: which generation of each is shown and which is being built, how far each generation has come in the
-- log, and what it could not apply; and the first of them, the activity of the log. Locks nothing that exists. Nothing here
-- is about a person.

CREATE TABLE read.projections (
    name     text   PRIMARY KEY,
    active   bigint NOT NULL,
    building bigint CHECK (building > active)
);

-- A row is locked by whoever reads on for it, and moves in the transaction that writes what follows from the events. It
-- changes with every page, so that its page keeps room for the next version.
CREATE TABLE read.checkpoints (
    name         text        NOT NULL REFERENCES read.projections,
    generation   bigint      NOT NULL,
    code_version int         NOT NULL,
    txid         xid8        NOT NULL DEFAULT '0',
    position     bigint      NOT NULL DEFAULT 0,
    moved_at     timestamptz NOT NULL,
    PRIMARY KEY (name, generation)
) WITH (fillfactor = 20);

-- Events that a projection could not apply: where they stand in the log and why, never what they say.
CREATE TABLE read.dead_letters (
    name       text        NOT NULL,
    generation bigint      NOT NULL,
    position   bigint      NOT NULL,
    txid       xid8        NOT NULL,
    reason     text        NOT NULL,
    attempts   int         NOT NULL DEFAULT 1,
    tried_at   timestamptz NOT NULL,
    PRIMARY KEY (name, generation, position),
    FOREIGN KEY (name, generation) REFERENCES read.checkpoints ON DELETE CASCADE
);

-- How many events of each type a day (UTC), by the capacity in which somebody acted.
CREATE TABLE read.activity (
    generation bigint NOT NULL,
    day        date   NOT NULL,
    event_type text   NOT NULL,
    role       text   NOT NULL,
    events     bigint NOT NULL CHECK (events > 0),
    PRIMARY KEY (generation, day, event_type, role)
);
