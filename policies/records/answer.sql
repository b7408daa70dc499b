-- Stored answers to repeated requests belong to who asked. A member of staff acts under a ticket of somebody else, of nobody or of
-- the system: it reaches the one answer whose keyed hash it shows. The system removes what has expired.
GRANT SELECT, INSERT, DELETE ON read.answers TO lethe_api, lethe_system;
CREATE POLICY answers_shown_read ON read.answers FOR SELECT TO lethe_api
    USING (subject_id = (SELECT lethe.subject_id()) OR key_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY answers_shown_add ON read.answers FOR INSERT TO lethe_api
    WITH CHECK (subject_id = (SELECT lethe.subject_id()) OR key_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY answers_shown_remove ON read.answers FOR DELETE TO lethe_api
    USING (subject_id = (SELECT lethe.subject_id()) OR key_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY answers_system_read ON read.answers FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY answers_system_add ON read.answers FOR INSERT TO lethe_system WITH CHECK (key_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY answers_system_clear ON read.answers FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
