-- The tree over the log. Hashes and signed notes, about nobody: the system grows it under its own ticket and reads it for
-- whoever asks the server; auditors and compliance staff read it with SQL of their own. No login takes a leaf back: tiles and
-- checkpoints are only added to. Old checkpoints are thinned.
GRANT SELECT ON log.trees, log.tiles, log.bundles, log.checkpoints TO lethe_system, lethe_auditor, lethe_compliance;
GRANT INSERT ON log.trees, log.tiles, log.bundles, log.checkpoints TO lethe_system;
GRANT UPDATE (size, txid, position, moved_at) ON log.trees TO lethe_system;
GRANT UPDATE (hashes) ON log.tiles TO lethe_system;
GRANT UPDATE (note, witnessed) ON log.checkpoints TO lethe_system;
GRANT DELETE ON log.checkpoints TO lethe_system;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['trees', 'tiles', 'bundles', 'checkpoints'] LOOP
        EXECUTE format('CREATE POLICY %I ON log.%I FOR SELECT TO lethe_auditor, lethe_compliance USING (true)',
                       name || '_audit_read', name);
        EXECUTE format('CREATE POLICY %I ON log.%I FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = ''system'')',
                       name || '_system_read', name);
        EXECUTE format('CREATE POLICY %I ON log.%I FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = ''system'')',
                       name || '_system_add', name);
    END LOOP;
END $$;
CREATE POLICY trees_system_grow ON log.trees FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY tiles_system_fill ON log.tiles FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system' AND length(hashes) < 8192) WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY checkpoints_system_cosign ON log.checkpoints FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY checkpoints_system_thin ON log.checkpoints FOR DELETE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system' AND signed_at < statement_timestamp() - interval '1 day');
