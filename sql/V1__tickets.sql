-- Tickets: the context that row-level security trusts. Locks nothing that exists.
-- The pads are the two halves of HMAC-SHA256 (RFC 2104) under the ring's ticket key; `migrate` installs them and only
-- the functions below read them. A ticket is checked once per statement where a policy calls (SELECT lethe.subject_id()).
CREATE TABLE lethe.pads (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    inner_pad bytea NOT NULL CHECK (length(inner_pad) = 64),
    outer_pad bytea NOT NULL CHECK (length(outer_pad) = 64)
);

-- One part of the shown ticket, or NULL where it is missing, malformed, forged, of another backend, or past its time.
CREATE FUNCTION lethe.ticket_part(wanted int) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shown text := current_setting('lethe.ticket', true);
    part  text[];
    pad   record;
BEGIN
    IF shown IS NULL OR shown = '' THEN RETURN NULL; END IF;
    part := string_to_array(shown, '|');
    IF cardinality(part) <> 7 OR part[1] <> 'v1' OR part[6] <> pg_backend_pid()::text THEN RETURN NULL; END IF;
    SELECT inner_pad, outer_pad INTO pad FROM lethe.pads;
    IF NOT FOUND THEN RETURN NULL; END IF;
    -- The MAC that must be, and the one that is shown, are hashed under the secret pad once more before they are compared,
    -- so that the comparison's time tells nothing.
    IF sha256(pad.outer_pad || convert_to(encode(sha256(pad.outer_pad || sha256(pad.inner_pad
              || convert_to(left(shown, length(shown) - length(part[7]) - 1), 'UTF8'))), 'hex'), 'UTF8'))
       <> sha256(pad.outer_pad || convert_to(part[7], 'UTF8')) THEN RETURN NULL; END IF;
    IF part[5]::bigint < extract(epoch FROM statement_timestamp()) THEN RETURN NULL; END IF;
    RETURN part[wanted];
END $$;

-- The three below are plain SQL without a setting or an owner's rights, so that the planner puts their one line in their
-- place; a function that it has to call would cost as much again as the check.

-- The person whose rows the ticket opens; the nil id for the system's own rows; NULL without a valid ticket.
CREATE FUNCTION lethe.subject_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT lethe.ticket_part(2)::uuid $$;

-- The keyed hash by which rows are found before a subject is known; NULL where the ticket names none.
CREATE FUNCTION lethe.lookup_hash() RETURNS bytea LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT decode(nullif(lethe.ticket_part(3), ''), 'hex') $$;

-- In which capacity the holder acts: subject, compliance, auditor, anonymous or system.
CREATE FUNCTION lethe.ticket_role() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT lethe.ticket_part(4) $$;

REVOKE EXECUTE ON FUNCTION lethe.ticket_part(int), lethe.subject_id(), lethe.lookup_hash(), lethe.ticket_role() FROM PUBLIC;
