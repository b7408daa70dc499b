-- A ticket names a number of its session instead of a backend, and a new record needs one flight: the transaction shows its ticket,
-- takes its locks, looks whether what was decided on still holds, and stores. Adds a table and functions, and replaces some in place.
-- Locks `vault.subjects` while it notes all people, and accounts, consents and suspensions against changes. Servers of older versions
-- show tickets in another way, which opens nothing from here on.

-- Gives the session its number, once, and the time. A login can't choose the number or give it to another session, so that a ticket
-- that names it is worth nothing elsewhere.
CREATE FUNCTION lethe.begin_session() RETURNS TABLE (number text, now timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE part text[] := string_to_array(current_setting('backtrace_functions'), ' ');
BEGIN
    IF part[1] IS DISTINCT FROM 'lethe' THEN
        part := ARRAY['lethe', replace(gen_random_uuid()::text, '-', '')];
        PERFORM set_config('backtrace_functions', array_to_string(part, ' '), false);
    END IF;
    RETURN QUERY SELECT part[2], clock_timestamp();
END $$;

-- Checks a ticket: v3|subjects|lookup|role|expiry|number|mac. Keeps `lethe number role expiry lookup subjects`, with `_` for none, and
-- only the number if the ticket is missing, malformed, forged, or of another session. `sql/V18` says where, and why there.
CREATE OR REPLACE FUNCTION lethe.show(shown text, in_transaction boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part   text[] := string_to_array(shown, '|');
    number text   := split_part(current_setting('backtrace_functions'), ' ', 2);
    said   text   := 'lethe ' || number;
    pad    record;
BEGIN
    IF number = '' THEN RETURN; END IF;
    IF cardinality(part) = 7 AND part[1] = 'v3' AND part[6] = number THEN
        SELECT inner_pad, outer_pad INTO pad FROM lethe.pads;
        -- The MAC that must be, and the one that is shown, are hashed under the secret pad once more before they are compared,
        -- so that the comparison's time tells nothing.
        IF FOUND AND sha256(pad.outer_pad || convert_to(encode(sha256(pad.outer_pad || sha256(pad.inner_pad
                  || convert_to(left(shown, length(shown) - length(part[7]) - 1), 'UTF8'))), 'hex'), 'UTF8'))
           = sha256(pad.outer_pad || convert_to(part[7], 'UTF8')) THEN
            -- The parts are what a server of ours wrote.
            said := concat_ws(' ', said, part[4], part[5], coalesce(nullif(part[3], ''), '_'), replace(part[2], '-', ''));
        END IF;
    END IF;
    said := set_config('backtrace_functions', said, in_transaction);
END $$;

-- One part of what the ticket said; NULL where none was shown. Of a ticket that ran out it says so (SQLSTATE LT001): "no rows" would
-- let a command go on that waited for too long, and leave half undone.
CREATE OR REPLACE FUNCTION lethe.shown(wanted int) RETURNS text LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
DECLARE
    part pg_catalog.text[] := pg_catalog.string_to_array(pg_catalog.current_setting('backtrace_functions'), ' ', '_');
BEGIN
    IF part[1] OPERATOR(pg_catalog.=) 'lethe' AND part[4] IS NOT NULL THEN
        IF part[4]::pg_catalog.int8 OPERATOR(pg_catalog.<) extract(epoch FROM pg_catalog.statement_timestamp()) THEN
            RAISE EXCEPTION 'the ticket ran out' USING ERRCODE = 'LT001';
        END IF;
        RETURN part[wanted];
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION lethe.subject_ids() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT pg_catalog.string_to_array(lethe.shown(6), ',')::pg_catalog.uuid[] $$;

CREATE OR REPLACE FUNCTION lethe.lookup_hash() RETURNS bytea LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT pg_catalog.decode(lethe.shown(5), 'hex') $$;

CREATE OR REPLACE FUNCTION lethe.ticket_role() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT lethe.shown(3) $$;

-- The persons whom the transaction has left out: they were in its ticket, and their rows are skipped.
CREATE FUNCTION lethe.left_out() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT COALESCE(pg_catalog.string_to_array(lethe.shown(7), ',')::pg_catalog.uuid[], '{}') $$;

-- Leaves out of the transaction all persons of its ticket but these; returns who stays. A ticket can only lose persons so.
CREATE FUNCTION lethe.keep(kept uuid[]) RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part   text[] := string_to_array(current_setting('backtrace_functions'), ' ');
    named  uuid[] := lethe.subject_ids();
    stay   uuid[] := ARRAY(SELECT id FROM unnest(named) AS id WHERE id = ANY (kept));
    leave  uuid[] := lethe.left_out() || ARRAY(SELECT id FROM unnest(named) AS id WHERE id <> ALL (coalesce(kept, '{}')));
BEGIN
    IF cardinality(stay) < cardinality(named) THEN
        PERFORM set_config('backtrace_functions', concat_ws(' ', part[1], part[2], part[3], part[4], part[5],
                           replace(array_to_string(stay, ','), '-', ''), replace(array_to_string(leave, ','), '-', '')), true);
    END IF;
    RETURN stay;
END $$;

REVOKE EXECUTE ON FUNCTION lethe.begin_session(), lethe.left_out(), lethe.keep(uuid[]) FROM PUBLIC;

-- The transaction that last changed what a person may do: keys, restriction, deletion, hold, suspension or a consent. A server
-- remembers what it has read together with this version, and asks only whether the version is still the same. Whoever writes the
-- tables, also a restore or a rebuild, moves it.
CREATE TABLE auth.standings (
    subject_id uuid PRIMARY KEY,
    version    bigint NOT NULL
) WITH (fillfactor = 80);

CREATE FUNCTION auth.begin_standings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO auth.standings SELECT subject_id, pg_current_xact_id()::text::bigint FROM changed;
    RETURN NULL;
END $$;
CREATE FUNCTION auth.move_standings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE auth.standings SET version = pg_current_xact_id()::text::bigint
        WHERE subject_id IN (SELECT subject_id FROM changed) AND version <> pg_current_xact_id()::text::bigint;
    RETURN NULL;
END $$;
CREATE FUNCTION auth.end_standings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM auth.standings WHERE subject_id IN (SELECT subject_id FROM changed);
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION auth.begin_standings(), auth.move_standings(), auth.end_standings() FROM PUBLIC;

CREATE TRIGGER standing_begins AFTER INSERT ON vault.subjects REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION auth.begin_standings();
CREATE TRIGGER standing_ends AFTER DELETE ON vault.subjects REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION auth.end_standings();
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['vault.subjects', 'read.accounts', 'read.consents', 'auth.suspensions'] LOOP
        EXECUTE format('CREATE TRIGGER standing_changes AFTER UPDATE ON %s REFERENCING NEW TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION auth.move_standings()', name);
        CONTINUE WHEN name = 'vault.subjects';
        EXECUTE format('CREATE TRIGGER standing_widens AFTER INSERT ON %s REFERENCING NEW TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION auth.move_standings()', name);
        EXECUTE format('CREATE TRIGGER standing_narrows AFTER DELETE ON %s REFERENCING OLD TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION auth.move_standings()', name);
    END LOOP;
    -- Also for whoever turns other triggers off, as a repair may.
    FOR name IN SELECT format('%s ENABLE ALWAYS TRIGGER %I', tgrelid::regclass, tgname) FROM pg_trigger WHERE tgname LIKE 'standing\_%' LOOP
        EXECUTE 'ALTER TABLE ' || name;
    END LOOP;
END $$;

ALTER TABLE vault.subjects NO FORCE ROW LEVEL SECURITY;
INSERT INTO auth.standings SELECT subject_id, pg_current_xact_id()::text::bigint FROM vault.subjects;
ALTER TABLE vault.subjects FORCE ROW LEVEL SECURITY;
