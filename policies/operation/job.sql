-- Jobs. A person's command adds work about that person, and sees it, but never the system's own (the nil id); servers lease and end work of all under the system's
-- ticket, which opens no key: the work itself runs under a ticket of role `job` for the one person.
-- Whether a restore is unfinished, servers ask before they serve.
GRANT SELECT ON lethe.restoring TO lethe_system;
CREATE POLICY restoring_read ON lethe.restoring FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

GRANT USAGE ON SCHEMA jobs TO lethe_api, lethe_system;
GRANT SELECT, INSERT, DELETE ON jobs.jobs TO lethe_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.jobs TO lethe_system;
CREATE POLICY jobs_own_read ON jobs.jobs FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) AND subject_id <> '00000000-0000-0000-0000-000000000000');
CREATE POLICY jobs_own_add ON jobs.jobs FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]) AND subject_id <> '00000000-0000-0000-0000-000000000000');
CREATE POLICY jobs_own_drop ON jobs.jobs FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) AND subject_id <> '00000000-0000-0000-0000-000000000000');
CREATE POLICY jobs_system_read ON jobs.jobs FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY jobs_system_add ON jobs.jobs FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY jobs_system_lease ON jobs.jobs FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY jobs_system_clear ON jobs.jobs FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
