-- Takes everything back before the files that follow give it: no grant, no policy; row-level security enabled and forced on
-- every table. It runs in one transaction with them, so that no moment is more open than another.
DO $$
DECLARE
    item    record;
    logins  text := 'PUBLIC, lethe_api, lethe_system, lethe_access, lethe_stats, lethe_auditor, lethe_compliance, lethe_dashboard';
    schemas text[] := ARRAY['lethe', 'log', 'vault', 'auth', 'read', 'jobs', 'stats'];
BEGIN
    FOR item IN SELECT schemaname, tablename, policyname FROM pg_policies WHERE schemaname = ANY (schemas) LOOP
        EXECUTE format('DROP POLICY %I ON %I.%I', item.policyname, item.schemaname, item.tablename);
    END LOOP;
    FOR item IN SELECT unnest(schemas) AS name LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %s', item.name, logins);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %s', item.name, logins);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM %s', item.name, logins);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM %s', item.name, logins);
    END LOOP;
    FOR item IN SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = ANY (schemas) AND c.relkind IN ('r', 'p') LOOP
        EXECUTE format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY', item.nspname, item.relname);
        EXECUTE format('ALTER TABLE %I.%I FORCE ROW LEVEL SECURITY', item.nspname, item.relname);
    END LOOP;
END $$;
