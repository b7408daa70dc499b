-- Projections. Catch-up projections are about nobody: the system keeps them under its own ticket, and reads for the server's
-- API what staff may see. Auditors and compliance staff read the activity with SQL of their own: only the generation that is
-- shown, so that nothing is counted twice while another is being built. Requests reach none of it.
-- Read models about people are made equal to the log a few people at a time, under a ticket of role `job` for exactly these people.
GRANT USAGE ON SCHEMA read TO lethe_system, lethe_auditor, lethe_compliance;
GRANT SELECT, INSERT, UPDATE ON read.projections TO lethe_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON read.checkpoints, read.dead_letters, read.activity, read.hours TO lethe_system;
GRANT SELECT ON read.projections, read.activity TO lethe_auditor, lethe_compliance;

CREATE POLICY projections_system_read ON read.projections FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY projections_system_add ON read.projections FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY projections_system_swap ON read.projections FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY projections_audit_read ON read.projections FOR SELECT TO lethe_auditor USING (true);
CREATE POLICY projections_compliance_read ON read.projections FOR SELECT TO lethe_compliance USING (true);

CREATE POLICY checkpoints_system_read ON read.checkpoints FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY checkpoints_system_add ON read.checkpoints FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY checkpoints_system_move ON read.checkpoints FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY checkpoints_system_drop ON read.checkpoints FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

CREATE POLICY dead_letters_system_read ON read.dead_letters FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY dead_letters_system_add ON read.dead_letters FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY dead_letters_system_retry ON read.dead_letters FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY dead_letters_system_drop ON read.dead_letters FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

CREATE POLICY activity_system_read ON read.activity FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY activity_system_add ON read.activity FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY activity_system_count ON read.activity FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY activity_system_sweep ON read.activity FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY activity_audit_read ON read.activity FOR SELECT TO lethe_auditor
    USING (generation = (SELECT p.active FROM read.projections p WHERE p.name = 'activity'));
CREATE POLICY activity_compliance_read ON read.activity FOR SELECT TO lethe_compliance
    USING (generation = (SELECT p.active FROM read.projections p WHERE p.name = 'activity'));

CREATE POLICY hours_system_read ON read.hours FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY hours_system_add ON read.hours FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY hours_system_widen ON read.hours FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY hours_system_sweep ON read.hours FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
