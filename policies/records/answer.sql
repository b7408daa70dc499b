-- Stored answers to repeated requests belong to who asked. A ticket opens the answers of its own subject, and the one answer whose
-- keyed hash it names: so a member of staff, whose ticket is of somebody else or of nobody, reaches their own. The system removes
-- what has expired.
GRANT SELECT, INSERT, DELETE ON read.answers TO lethe_api, lethe_system;
CREATE POLICY answers_shown_read ON read.answers FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) OR key_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY answers_shown_add ON read.answers FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]) OR key_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY answers_shown_remove ON read.answers FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) OR key_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY answers_system_read ON read.answers FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY answers_system_add ON read.answers FOR INSERT TO lethe_system
    WITH CHECK (key_hash = (SELECT lethe.lookup_hash()) AND (SELECT lethe.ticket_role()) = 'system');
CREATE POLICY answers_system_clear ON read.answers FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
