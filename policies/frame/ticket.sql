-- The pads are read by the functions that check tickets, and by nothing else; the history of migrations by its owner.
-- Logins may ask what their ticket says; they cannot ask for the pads.
GRANT USAGE ON SCHEMA lethe TO lethe_api, lethe_system, lethe_access, lethe_stats;
GRANT EXECUTE ON FUNCTION lethe.begin_session(), lethe.show(text, boolean), lethe.shown(int), lethe.subject_ids(),
    lethe.lookup_hash(), lethe.ticket_role() TO lethe_api, lethe_system, lethe_access, lethe_stats;
-- Persons share transactions of this login only.
GRANT EXECUTE ON FUNCTION lethe.keep(uuid[]),
    lethe.store_record(text, bigint, bigint, uuid, bigint, uuid, text, bytea, uuid, bytea, bytea, uuid, text, text, text,
                       timestamptz, timestamptz, bytea, bigint, bytea, text, timestamptz),
    lethe.store_records(text, bigint[], bigint[], uuid[], bigint[], uuid[], text[], bytea[], uuid[], bytea[], bytea[], uuid[],
                        text[], text[], text[], timestamptz[], timestamptz[], bytea[], bigint[], bytea[], text[], timestamptz[])
    TO lethe_api;

-- Policies that let rows be found write COALESCE(subject_id = ANY (...), false). It means the same as the comparison alone, but no index
-- can follow it: the planner would take the list of a ticket for the beginning of a search, compare each lookup with each person in
-- it, and might prefer an index that knows the person alone to the one that knows the row.

CREATE POLICY pads_checked ON lethe.pads FOR SELECT TO lethe_owner USING (true);
CREATE POLICY history_read ON lethe.schema_history FOR SELECT TO lethe_owner USING (true);
CREATE POLICY history_added ON lethe.schema_history FOR INSERT TO lethe_owner WITH CHECK (true);

-- Policies called these until tickets could name several persons and were checked once.
DROP FUNCTION IF EXISTS lethe.subject_id(), lethe.ticket_part(int);
