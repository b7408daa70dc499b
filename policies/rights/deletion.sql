-- Deletion. A person's requests are written and read under that person's ticket. To erase a person takes a ticket of role
-- `job`, which a server makes only for work that it has leased. The fence is added to by such a ticket, read by whoever makes
-- keys, and changed by nobody.
GRANT SELECT, INSERT, UPDATE, DELETE ON read.deletions TO lethe_api;
CREATE POLICY deletions_own_read ON read.deletions FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY deletions_own_add ON read.deletions FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY deletions_own_change ON read.deletions FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY deletions_erase ON read.deletions FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) AND (SELECT lethe.ticket_role()) = 'job');

-- The system sees which confirmed deletions are waiting, to put them among the jobs.
GRANT SELECT (subject_id, deletion_id, state, grace_ends_at) ON read.deletions TO lethe_system;
CREATE POLICY deletions_system_plan ON read.deletions FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

GRANT SELECT, INSERT ON vault.erased TO lethe_api;
CREATE POLICY erased_own_read ON vault.erased FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY erased_own_add ON vault.erased FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]) AND (SELECT lethe.ticket_role()) = 'job');

-- Keys and, by reference, the register, records, sign-ins and stored answers.
GRANT DELETE ON vault.subjects TO lethe_api;
CREATE POLICY subjects_erase ON vault.subjects FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) AND (SELECT lethe.ticket_role()) = 'job');
GRANT DELETE ON read.accounts, read.consents TO lethe_api;
CREATE POLICY accounts_erase ON read.accounts FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) AND (SELECT lethe.ticket_role()) = 'job');
CREATE POLICY consents_erase ON read.consents FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) AND (SELECT lethe.ticket_role()) = 'job');
