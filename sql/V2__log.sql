-- The log: every action, in order, sealed where it says something about a person. Locks nothing that exists.
-- The first seven columns are those of postgres-es 0.5, so that its stock repository reads this table.
CREATE SCHEMA log;

CREATE TABLE log.events (
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence >= 1),
    event_type     text        NOT NULL,
    event_version  text        NOT NULL,
    payload        json        NOT NULL CHECK (json_typeof(payload) = 'object'),
    metadata       json        NOT NULL CHECK (json_typeof(metadata) = 'object'),
    position       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    txid           xid8        NOT NULL DEFAULT pg_current_xact_id(),
    event_id       uuid        NOT NULL,
    subject_id     uuid        NOT NULL,
    kind           text        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (subject_id, aggregate_type, aggregate_id, sequence)
);
-- Readers page by (txid, position) below the oldest running transaction: commit order can't overtake them.
CREATE INDEX events_txid_position ON log.events (txid, position);

-- Append-only for everyone, the owner included; ENABLE ALWAYS holds in replication mode too.
CREATE FUNCTION log.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE EXECUTE ON FUNCTION log.refuse_change() FROM PUBLIC;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log.events
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();
ALTER TABLE log.events ENABLE ALWAYS TRIGGER events_append_only;
