-- What keeps the cost of a request at what it returns, however much the log and a person's data have grown.

-- The owner of the tables runs this file, and forced row-level security would hide all rows from it, so that nothing would be changed
-- or counted below. It is forced again at the end.
ALTER TABLE vault.records NO FORCE ROW LEVEL SECURITY;
ALTER TABLE vault.erased NO FORCE ROW LEVEL SECURITY;
ALTER TABLE read.records NO FORCE ROW LEVEL SECURITY;
ALTER TABLE read.accounts NO FORCE ROW LEVEL SECURITY;
ALTER TABLE read.consents NO FORCE ROW LEVEL SECURITY;

-- A person's events in the order of the log, from which a page of the audit log is read. Commands wait while it is built.
CREATE INDEX events_of_subject ON log.events (subject_id, position);

-- A person's records of a kind by the quarter in which they lie. Commands wait while it is built.
CREATE INDEX records_filed ON vault.records (subject_id, kind, bucket) WHERE bucket IS NOT NULL;

-- The time by which records of kinds without days are listed: that of their first submission; of other kinds there is none. Such
-- records are filed in no bucket. Rewrites their rows.
ALTER TABLE read.records ADD COLUMN listed_at timestamptz;
UPDATE read.records r SET listed_at = submitted_at
    FROM vault.records v WHERE v.subject_id = r.subject_id AND v.record_id = r.record_id AND v.bucket IS NULL;
CREATE INDEX records_listed ON read.records (subject_id, kind, listed_at, record_id) WHERE listed_at IS NOT NULL;

-- Where in the log the events of an hour (UTC) lie: the places of the first and of the last. The trail of a span of time begins and
-- ends there. Kept by the projection `activity`; nothing in it is about a person.
CREATE TABLE read.hours (
    generation     bigint      NOT NULL,
    hour           timestamptz NOT NULL,
    first_txid     xid8        NOT NULL,
    first_position bigint      NOT NULL,
    last_txid      xid8        NOT NULL,
    last_position  bigint      NOT NULL,
    PRIMARY KEY (generation, hour)
);

-- What the compliance desk looks for: holds, requests that are not answered yet, and the newest erasures.
CREATE INDEX accounts_held ON read.accounts (held_until) WHERE held_until IS NOT NULL;
CREATE INDEX deletions_open ON read.deletions (requested_at) WHERE state IN ('pending', 'confirmed');
CREATE INDEX exports_open ON read.exports (requested_at) WHERE state IN ('pending', 'processing');
CREATE INDEX erased_newest ON vault.erased (erased_at);

-- How many accounts and consents are in which state, so that nobody has to count them. Each statement that changes some adds the
-- difference as rows of its own, so that no two transactions wait for one another; housekeeping merges the rows. Whoever writes the
-- tables, also a restore or a rebuild, keeps it.
CREATE TABLE read.tally (
    what           text   NOT NULL CHECK (what IN ('account', 'restricted', 'waiting', 'erased', 'granted', 'withdrawn', 'objected')),
    purpose        text   NOT NULL DEFAULT '',
    notice_version text   NOT NULL DEFAULT '',
    delta          bigint NOT NULL
);

-- The states of an account, and of a consent, that are counted.
CREATE FUNCTION read.account_states(restricted_at timestamptz, deletion_at timestamptz) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT what FROM (VALUES ('account', true), ('restricted', restricted_at IS NOT NULL), ('waiting', deletion_at IS NOT NULL))
        AS state (what, holds) WHERE holds
$$;
CREATE FUNCTION read.consent_states(granted boolean, objected boolean) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT what FROM (VALUES ('granted', granted AND NOT objected), ('withdrawn', NOT granted), ('objected', objected))
        AS state (what, holds) WHERE holds
$$;

CREATE FUNCTION read.tally_accounts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO read.tally (what, delta)
        SELECT what, count(*) FROM added, read.account_states(restricted_at, deletion_at) AS what GROUP BY what;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO read.tally (what, delta)
        SELECT what, -count(*) FROM gone, read.account_states(restricted_at, deletion_at) AS what GROUP BY what;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION read.tally_consents() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO read.tally (what, purpose, notice_version, delta)
        SELECT what, purpose, notice_version, count(*) FROM added, read.consent_states(granted, objected) AS what GROUP BY 1, 2, 3;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO read.tally (what, purpose, notice_version, delta)
        SELECT what, purpose, notice_version, -count(*) FROM gone, read.consent_states(granted, objected) AS what GROUP BY 1, 2, 3;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION read.tally_erased() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO read.tally (what, delta) SELECT 'erased', count(*) FROM added HAVING count(*) > 0;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION read.account_states(timestamptz, timestamptz), read.consent_states(boolean, boolean),
    read.tally_accounts(), read.tally_consents(), read.tally_erased() FROM PUBLIC;

CREATE TRIGGER tally_added AFTER INSERT ON read.accounts REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION read.tally_accounts();
CREATE TRIGGER tally_changed AFTER UPDATE ON read.accounts REFERENCING OLD TABLE AS gone NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION read.tally_accounts();
CREATE TRIGGER tally_removed AFTER DELETE ON read.accounts REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION read.tally_accounts();
CREATE TRIGGER tally_added AFTER INSERT ON read.consents REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION read.tally_consents();
CREATE TRIGGER tally_changed AFTER UPDATE ON read.consents REFERENCING OLD TABLE AS gone NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION read.tally_consents();
CREATE TRIGGER tally_removed AFTER DELETE ON read.consents REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION read.tally_consents();
CREATE TRIGGER tally_added AFTER INSERT ON vault.erased REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION read.tally_erased();

INSERT INTO read.tally (what, delta)
    SELECT what, count(*) FROM read.accounts, read.account_states(restricted_at, deletion_at) AS what GROUP BY what;
INSERT INTO read.tally (what, purpose, notice_version, delta)
    SELECT what, purpose, notice_version, count(*) FROM read.consents, read.consent_states(granted, objected) AS what GROUP BY 1, 2, 3;
INSERT INTO read.tally (what, delta) SELECT 'erased', count(*) FROM vault.erased HAVING count(*) > 0;

ALTER TABLE vault.records FORCE ROW LEVEL SECURITY;
ALTER TABLE vault.erased FORCE ROW LEVEL SECURITY;
ALTER TABLE read.records FORCE ROW LEVEL SECURITY;
ALTER TABLE read.accounts FORCE ROW LEVEL SECURITY;
ALTER TABLE read.consents FORCE ROW LEVEL SECURITY;
