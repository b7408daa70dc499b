-- Who may log in. Every login is its own role with its own pool; none is superuser, may bypass row-level security, owns
-- anything or is a member of another. lethe_owner owns every object and cannot log in; lethe_watch owns what ends other logins'
-- sessions (watch.sql), and cannot log in either. Applied before the migrations, by the superuser.
--
-- A login may change its own settings and its own password. So everything that a role or this database has set is taken back
-- before ours is set: settings, limits, expiry, memberships. Passwords are set afterwards.
DO $$
DECLARE
    name text;
    item record;
    logins text[] := ARRAY['lethe_api', 'lethe_system', 'lethe_access', 'lethe_stats', 'lethe_auditor', 'lethe_compliance',
                           'lethe_dashboard'];
    jobs int;
    -- Connections that the strong logins share: those that are neither kept for the superuser nor for the weak logins.
    shared int := greatest(24, current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                               - coalesce(current_setting('reserved_connections', true), '0')::int - 24);
BEGIN
    FOREACH name IN ARRAY logins || ARRAY['lethe_owner', 'lethe_watch'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
        EXECUTE format('ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS VALID UNTIL %L', name, 'infinity');
        IF name = ANY (logins) THEN
            EXECUTE format('ALTER ROLE %I LOGIN NOINHERIT', name);
        ELSE
            -- What they are members of, their functions use.
            EXECUTE format('ALTER ROLE %I NOLOGIN INHERIT PASSWORD NULL CONNECTION LIMIT 0', name);
        END IF;
    END LOOP;
    FOR item IN SELECT r.rolname, d.datname FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
                LEFT JOIN pg_database d ON d.oid = s.setdatabase WHERE r.rolname LIKE 'lethe\_%' LOOP
        EXECUTE format('ALTER ROLE %I %s RESET ALL', item.rolname, 'IN DATABASE ' || quote_ident(item.datname));
    END LOOP;
    EXECUTE format('ALTER DATABASE %I RESET ALL', current_database());
    -- From whoever granted it: since PostgreSQL 16 a member can have a role from several.
    FOR item IN SELECT g.rolname AS role, m.rolname AS member, w.rolname AS grantor
                FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
                LEFT JOIN pg_roles w ON w.oid = a.grantor WHERE g.rolname LIKE 'lethe\_%' OR m.rolname LIKE 'lethe\_%' LOOP
        EXECUTE format('REVOKE %I FROM %I %s', item.role, item.member, 'GRANTED BY ' || quote_ident(item.grantor));
    END LOOP;

    -- Weak logins are people's and dashboards'; each may hold a few connections, however many its password opens.
    FOREACH name IN ARRAY ARRAY['lethe_auditor', 'lethe_compliance', 'lethe_dashboard'] LOOP
        EXECUTE format('ALTER ROLE %I CONNECTION LIMIT 8', name);
        -- A session can't lift this one.
        EXECUTE format('ALTER ROLE %I SET temp_file_limit = %L', name, '1GB');
    END LOOP;
    -- One server's jobs take four, and the probe of its readiness one; a command of the operator comes beside them.
    jobs := greatest(8, shared * 2 / 10);
    EXECUTE format('ALTER ROLE lethe_system CONNECTION LIMIT %s', jobs);
    EXECUTE format('ALTER ROLE lethe_access CONNECTION LIMIT %s', shared / 10);
    EXECUTE format('ALTER ROLE lethe_stats CONNECTION LIMIT %s', shared / 10);
    EXECUTE format('ALTER ROLE lethe_api CONNECTION LIMIT %s', shared - jobs - 2 * (shared / 10));

    -- What people's and other programs' sessions begin with. The server's own sessions are pinned to the same, and more
    -- (`crates/db/src/pool.rs`).
    FOREACH name IN ARRAY logins LOOP
        EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', name, '30s');
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', name, '30s');
        -- Whoever hangs up leaves no statement behind that holds locks, or readers back.
        EXECUTE format('ALTER ROLE %I SET client_connection_check_interval = %L', name, '1s');
        EXECUTE format('ALTER ROLE %I SET search_path = %L', name, 'pg_catalog');
        -- Every statement of ours looks rows up by key: planning it anew each time would cost more than it finds.
        EXECUTE format('ALTER ROLE %I SET plan_cache_mode = %L', name, 'force_generic_plan');
        -- Nor is any of them long enough to be worth the start of helpers.
        EXECUTE format('ALTER ROLE %I SET max_parallel_workers_per_gather = %L', name, '0');
    END LOOP;

    -- Nobody comes into this database but our logins, and none of them into the two that every cluster has.
    FOR name IN SELECT datname FROM pg_database WHERE datname IN (current_database(), 'postgres', 'template1') LOOP
        EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC, %s', name, array_to_string(logins, ', '));
    END LOOP;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %s', current_database(), array_to_string(logins, ', '));
    EXECUTE format('GRANT CREATE ON DATABASE %I TO lethe_owner', current_database());
END $$;
-- A stock postgres-es repository names its table without a schema.
ALTER ROLE lethe_auditor SET search_path = 'log', 'pg_catalog';
ALTER ROLE lethe_auditor SET statement_timeout = '0';
ALTER ROLE lethe_auditor RESET plan_cache_mode;
ALTER ROLE lethe_auditor RESET max_parallel_workers_per_gather;
-- A release reads each person's rows once: remembering them would only cost.
ALTER ROLE lethe_stats SET enable_memoize = off;

-- Where a ticket's check leaves what it found (`sql/V20`): nobody else may write there.
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['PUBLIC', 'lethe_api', 'lethe_system', 'lethe_access', 'lethe_stats', 'lethe_auditor', 'lethe_compliance',
                                'lethe_dashboard', 'lethe_watch'] LOOP
        EXECUTE format('REVOKE ALL ON PARAMETER backtrace_functions FROM %s', name);
    END LOOP;
END $$;
GRANT SET ON PARAMETER backtrace_functions TO lethe_owner;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS lethe AUTHORIZATION lethe_owner;
GRANT pg_read_all_stats, pg_signal_backend TO lethe_watch;

-- Everybody may call these, which are not ours to leave open: a lock that is taken by whoever likes stops somebody's writes, a
-- large object is a place outside every policy, a message fills the write-ahead log, and a login that ends its own sessions
-- ends the server's.
DO $$
DECLARE name regprocedure;
BEGIN
    FOR name IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
                AND (proname LIKE 'pg\_%advisory%' OR proname ~ '^(lo_|lowrite$|loread$)'
                     OR proname IN ('pg_logical_emit_message', 'pg_terminate_backend', 'pg_cancel_backend')) LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC, lethe_access, lethe_stats, lethe_system', name);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION pg_advisory_xact_lock(bigint), pg_advisory_xact_lock_shared(bigint), pg_try_advisory_xact_lock(bigint),
    pg_try_advisory_xact_lock_shared(bigint) TO lethe_api;
GRANT EXECUTE ON FUNCTION pg_advisory_xact_lock(bigint) TO lethe_owner;
GRANT EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) TO lethe_watch;
