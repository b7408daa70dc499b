-- Walls between logins, and around what a ticket opens. Replaces functions in place and locks no table.

-- One part of the shown ticket, or NULL where it is missing, malformed, forged, or of another backend. Of a ticket that ran out
-- it says so (SQLSTATE LT001): "no rows" would let a command go on that waited for too long, and leave half undone.
-- v2|subject|lookup|role|expiry|pid|slot|started|mac. A process number is soon used again; the backend's start tells two apart.
-- `slot` is where the backend's state was found when the connection was made, which spares looking through all of them.
CREATE OR REPLACE FUNCTION lethe.ticket_part(wanted int) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shown text := current_setting('lethe.ticket', true);
    part  text[];
    pad   record;
    slot  int;
BEGIN
    IF shown IS NULL OR shown = '' THEN RETURN NULL; END IF;
    part := string_to_array(shown, '|');
    IF cardinality(part) <> 9 OR part[1] <> 'v2' OR part[6] <> pg_backend_pid()::text THEN RETURN NULL; END IF;
    SELECT inner_pad, outer_pad INTO pad FROM lethe.pads;
    IF NOT FOUND THEN RETURN NULL; END IF;
    -- The MAC that must be, and the one that is shown, are hashed under the secret pad once more before they are compared,
    -- so that the comparison's time tells nothing.
    IF sha256(pad.outer_pad || convert_to(encode(sha256(pad.outer_pad || sha256(pad.inner_pad
              || convert_to(left(shown, length(shown) - length(part[9]) - 1), 'UTF8'))), 'hex'), 'UTF8'))
       <> sha256(pad.outer_pad || convert_to(part[9], 'UTF8')) THEN RETURN NULL; END IF;
    -- From here on the parts are what a server of ours wrote.
    slot := part[7]::int;
    IF pg_stat_get_backend_pid(slot) IS DISTINCT FROM pg_backend_pid() THEN
        slot := (SELECT id FROM pg_stat_get_backend_idset() AS ids (id) WHERE pg_stat_get_backend_pid(id) = pg_backend_pid());
    END IF;
    IF extract(epoch FROM pg_stat_get_backend_start(slot))::text IS DISTINCT FROM part[8] THEN RETURN NULL; END IF;
    IF part[5]::bigint < extract(epoch FROM statement_timestamp()) THEN
        RAISE EXCEPTION 'the ticket ran out' USING ERRCODE = 'LT001';
    END IF;
    RETURN nullif(part[wanted], '');
END $$;

-- The planner puts the one line of each of the three in the place of its call, where the search path is the caller's: so
-- every name in them says its schema.
CREATE OR REPLACE FUNCTION lethe.subject_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT lethe.ticket_part(2)::pg_catalog.uuid $$;

CREATE OR REPLACE FUNCTION lethe.lookup_hash() RETURNS bytea LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT pg_catalog.decode(lethe.ticket_part(3), 'hex') $$;

CREATE OR REPLACE FUNCTION lethe.ticket_role() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT lethe.ticket_part(4) $$;

-- Releases, one after the other. The login that releases may take this one lock, and none that a person waits for.
CREATE FUNCTION stats.alone() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7310868735421);
END $$;
REVOKE EXECUTE ON FUNCTION stats.alone() FROM PUBLIC;

-- The same budget as before, summed with the owner's rights, so that the one who spends needs no lock of its own choice.
CREATE OR REPLACE FUNCTION stats.check_budget() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE spent record;
BEGIN
    PERFORM stats.alone();
    SELECT sum(epsilon_users + epsilon_overtime + epsilon_planned) AS epsilon, sum(delta) AS delta INTO spent
    FROM stats.spending WHERE period_start = NEW.period_start;
    IF spent.epsilon > 1000000 OR spent.delta > 1000000 THEN
        RAISE EXCEPTION 'the budget of the quarter from % is spent', NEW.period_start USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
