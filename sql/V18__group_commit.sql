-- A ticket is checked once, when it is shown, and may name several persons: one transaction may store what they asked for at the
-- same moment. Adds functions and replaces some in place; locks no table. Servers of older versions show tickets in another way,
-- which opens nothing from here on.

-- What a ticket says is kept where no login can write: in a parameter that only superusers may set, and lethe_owner, by
-- `policies/frame/roles.sql`. PostgreSQL has few such parameters that are text, and this one everybody may read; it names C functions
-- whose errors are traced, and none is named so. Nobody but `show` sets it, for the transaction or for the session; a rollback, also
-- to a savepoint, takes it back.
--
-- Checks a ticket: v2|subjects|lookup|role|expiry|pid|slot|started|mac. Keeps `lethe role expiry lookup subjects`, with `_` for none,
-- and nothing if the ticket is missing, malformed, forged, or of another backend. A process number is soon used again; the backend's
-- start tells two apart. `slot` is where the backend's state was found when the connection was made, which spares looking
-- through all of them.
CREATE FUNCTION lethe.show(shown text, in_transaction boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text[] := string_to_array(shown, '|');
    pad  record;
    slot int;
BEGIN
    PERFORM set_config('backtrace_functions', '', in_transaction);
    IF cardinality(part) IS DISTINCT FROM 9 OR part[1] <> 'v2' OR part[6] <> pg_backend_pid()::text THEN RETURN; END IF;
    SELECT inner_pad, outer_pad INTO pad FROM lethe.pads;
    IF NOT FOUND THEN RETURN; END IF;
    -- The MAC that must be, and the one that is shown, are hashed under the secret pad once more before they are compared,
    -- so that the comparison's time tells nothing.
    IF sha256(pad.outer_pad || convert_to(encode(sha256(pad.outer_pad || sha256(pad.inner_pad
              || convert_to(left(shown, length(shown) - length(part[9]) - 1), 'UTF8'))), 'hex'), 'UTF8'))
       <> sha256(pad.outer_pad || convert_to(part[9], 'UTF8')) THEN RETURN; END IF;
    -- From here on the parts are what a server of ours wrote.
    slot := part[7]::int;
    IF pg_stat_get_backend_pid(slot) IS DISTINCT FROM pg_backend_pid() THEN
        slot := (SELECT id FROM pg_stat_get_backend_idset() AS ids (id) WHERE pg_stat_get_backend_pid(id) = pg_backend_pid());
    END IF;
    IF extract(epoch FROM pg_stat_get_backend_start(slot))::text IS DISTINCT FROM part[8] THEN RETURN; END IF;
    PERFORM set_config('backtrace_functions', concat_ws(' ', 'lethe', part[4], part[5], coalesce(nullif(part[3], ''), '_'),
                                                        replace(part[2], '-', '')), in_transaction);
END $$;

-- One part of what the ticket said; NULL where none was shown. Of a ticket that ran out it says so (SQLSTATE LT001): "no rows" would
-- let a command go on that waited for too long, and leave half undone.
CREATE FUNCTION lethe.shown(wanted int) RETURNS text LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
DECLARE
    part pg_catalog.text[] := pg_catalog.string_to_array(pg_catalog.current_setting('backtrace_functions'), ' ', '_');
BEGIN
    IF part[1] OPERATOR(pg_catalog.=) 'lethe' THEN
        IF part[3]::pg_catalog.int8 OPERATOR(pg_catalog.<) extract(epoch FROM pg_catalog.statement_timestamp()) THEN
            RAISE EXCEPTION 'the ticket ran out' USING ERRCODE = 'LT001';
        END IF;
        RETURN part[wanted];
    END IF;
    RETURN NULL;
END $$;

-- The planner puts the one line of each of the three in the place of its call, where the search path is the caller's: so
-- every name in them says its schema.
CREATE FUNCTION lethe.subject_ids() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT pg_catalog.string_to_array(lethe.shown(5), ',')::pg_catalog.uuid[] $$;

CREATE OR REPLACE FUNCTION lethe.lookup_hash() RETURNS bytea LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT pg_catalog.decode(lethe.shown(4), 'hex') $$;

CREATE OR REPLACE FUNCTION lethe.ticket_role() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT lethe.shown(2) $$;

REVOKE EXECUTE ON FUNCTION lethe.show(text, boolean), lethe.shown(int), lethe.subject_ids() FROM PUBLIC;
