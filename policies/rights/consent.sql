-- Consents. A person's decisions are read and written under that person's ticket. The system may look for consents that were
-- given on a notice that no longer counts.
GRANT SELECT, INSERT, UPDATE ON read.consents TO lethe_api;
CREATE POLICY consents_own_read ON read.consents FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY consents_own_add ON read.consents FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY consents_own_change ON read.consents FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));

GRANT SELECT (subject_id, purpose, granted, notice_version) ON read.consents TO lethe_system;
CREATE POLICY consents_system_outdated ON read.consents FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
