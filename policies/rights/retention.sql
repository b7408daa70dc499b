-- Retention. A person's own rules are read and written under that person's ticket. The system may look for what has outlived
-- its time: whose, of which kind, how old; never what it says.
GRANT SELECT, INSERT, UPDATE, DELETE ON read.retention TO lethe_api;
CREATE POLICY retention_own_read ON read.retention FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY retention_own_add ON read.retention FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY retention_own_change ON read.retention FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY retention_own_drop ON read.retention FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));

GRANT SELECT ON read.retention TO lethe_system;
CREATE POLICY retention_system_read ON read.retention FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
GRANT SELECT (subject_id, kind, recorded_at) ON read.records TO lethe_system;
CREATE POLICY records_system_age ON read.records FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
