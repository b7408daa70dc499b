-- The key ring among several servers. Servers say under the system's ticket which state of the ring's file they have read, and
-- raise the floor of a rotation, which never sinks. Whose keys are under which version the system sees, and none of the keys.
GRANT USAGE ON SCHEMA vault TO lethe_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON vault.nodes TO lethe_system;
CREATE POLICY nodes_system_read ON vault.nodes FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY nodes_system_join ON vault.nodes FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY nodes_system_beat ON vault.nodes FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY nodes_system_leave ON vault.nodes FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

GRANT SELECT, UPDATE (version) ON vault.ring_floor TO lethe_system;
GRANT EXECUTE ON FUNCTION lethe.ring_floor() TO lethe_api, lethe_system;
CREATE POLICY floor_checked ON vault.ring_floor FOR SELECT TO lethe_owner USING (true);
CREATE POLICY floor_system_read ON vault.ring_floor FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY floor_system_raise ON vault.ring_floor FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system')
    WITH CHECK ((SELECT lethe.ticket_role()) = 'system' AND version >= (SELECT lethe.ring_floor()));

GRANT SELECT (subject_id, ring_version) ON vault.subjects TO lethe_system;
CREATE POLICY subjects_system_count ON vault.subjects FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
