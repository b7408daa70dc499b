-- The compliance desk. The server reads for staff under the system's ticket: states, times and random ids, never what is sealed.
-- To read a person's data a member of staff needs an opening, and then that person's own ticket shows the rows.
GRANT SELECT, INSERT ON auth.openings TO lethe_system;
GRANT DELETE ON auth.openings TO lethe_system;
CREATE POLICY openings_system_read ON auth.openings FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY openings_system_add ON auth.openings FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY openings_system_clear ON auth.openings FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

-- A person sees that the account is suspended; only a ticket of role `job` suspends it.
GRANT SELECT, INSERT, UPDATE (until) ON auth.suspensions TO lethe_api;
CREATE POLICY suspensions_own_read ON auth.suspensions FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY suspensions_add ON auth.suspensions FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]) AND (SELECT lethe.ticket_role()) = 'job');
CREATE POLICY suspensions_lengthen ON auth.suspensions FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) AND (SELECT lethe.ticket_role()) = 'job')
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]) AND (SELECT lethe.ticket_role()) = 'job');
GRANT SELECT, DELETE ON auth.suspensions TO lethe_system;
CREATE POLICY suspensions_system_read ON auth.suspensions FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY suspensions_system_clear ON auth.suspensions FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.deliveries TO lethe_system;
CREATE POLICY deliveries_system_read ON jobs.deliveries FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY deliveries_system_add ON jobs.deliveries FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY deliveries_system_move ON jobs.deliveries FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY deliveries_system_clear ON jobs.deliveries FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

-- Requests, holds and the fence, as the desk counts them.
GRANT SELECT (scope, requested_at, expires_at, ended_at, removed) ON read.deletions TO lethe_system;
GRANT SELECT (scope, format, requested_at, ended_at) ON read.exports TO lethe_system;
GRANT SELECT (subject_id, held_until) ON read.accounts TO lethe_system;
CREATE POLICY accounts_system_switches ON read.accounts FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
-- How many accounts and consents there are; the triggers that keep the tally run as the owner.
GRANT SELECT, INSERT, DELETE ON read.tally TO lethe_system;
CREATE POLICY tally_system_read ON read.tally FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY tally_system_merge_add ON read.tally FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY tally_system_merge_drop ON read.tally FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY tally_kept ON read.tally FOR INSERT TO lethe_owner WITH CHECK (true);
GRANT SELECT ON vault.erased TO lethe_system;
CREATE POLICY erased_system_read ON vault.erased FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
