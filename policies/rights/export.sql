-- Export. A person's requests are written and read under that person's ticket; the system may see which
-- files have run out, and which belong to a request.
GRANT SELECT, INSERT, UPDATE, DELETE ON read.exports TO lethe_api;
CREATE POLICY exports_own_read ON read.exports FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY exports_own_add ON read.exports FOR INSERT TO lethe_api WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY exports_own_change ON read.exports FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY exports_erase ON read.exports FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) AND (SELECT lethe.ticket_role()) = 'job');
GRANT SELECT (subject_id, export_id, state, expires_at, etag) ON read.exports TO lethe_system;
CREATE POLICY exports_system_expiry ON read.exports FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
