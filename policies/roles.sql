-- Who may log in. Every login is its own role with its own pool; none is superuser, may bypass row-level security, owns
-- anything or is a member of another. lethe_owner owns every object and cannot log in. Applied before the migrations.
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['lethe_owner', 'lethe_api', 'lethe_system', 'lethe_access', 'lethe_stats',
                                'lethe_auditor', 'lethe_compliance', 'lethe_dashboard'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
        EXECUTE format('ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT', name);
        IF name = 'lethe_owner' THEN
            EXECUTE format('ALTER ROLE %I NOLOGIN', name);
        ELSE
            EXECUTE format('ALTER ROLE %I LOGIN', name);
            EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', name, '30s');
            EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', name, '30s');
            -- Whoever hangs up leaves no statement behind that holds locks, or readers back.
            EXECUTE format('ALTER ROLE %I SET client_connection_check_interval = %L', name, '1s');
            EXECUTE format('ALTER ROLE %I SET search_path = %L', name, 'pg_catalog');
            -- Every statement of ours looks rows up by key: planning it anew each time would cost more than it finds.
            EXECUTE format('ALTER ROLE %I SET plan_cache_mode = %L', name, 'force_generic_plan');
            -- Nor is any of them long enough to be worth the start of helpers.
            EXECUTE format('ALTER ROLE %I SET max_parallel_workers_per_gather = %L', name, '0');
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO lethe_api, lethe_system, lethe_access, lethe_stats, '
                   'lethe_auditor, lethe_compliance, lethe_dashboard', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO lethe_owner', current_database());
END $$;
-- A stock postgres-es repository names its table without a schema.
ALTER ROLE lethe_auditor SET search_path = 'log', 'pg_catalog';
ALTER ROLE lethe_auditor SET statement_timeout = '0';
ALTER ROLE lethe_auditor RESET plan_cache_mode;
ALTER ROLE lethe_auditor RESET max_parallel_workers_per_gather;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS lethe AUTHORIZATION lethe_owner;
-- Everybody may call these, which are not ours to leave open: a lock that is taken by whoever likes stops somebody's writes,
-- and a large object is a place outside every policy.
DO $$
DECLARE name regprocedure;
BEGIN
    FOR name IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
                AND (proname LIKE 'pg\_%advisory%' OR proname ~ '^(lo_|lowrite$|loread$)') LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', name);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION pg_advisory_xact_lock(bigint), pg_advisory_xact_lock_shared(bigint), pg_try_advisory_xact_lock(bigint)
    TO lethe_api, lethe_system, lethe_access, lethe_stats;
-- A release reads each person's rows once: remembering them would only cost.
ALTER ROLE lethe_stats SET enable_memoize = off;
