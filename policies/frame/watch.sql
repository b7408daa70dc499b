-- The watch over sessions: what no setting can hold, because a session lifts its own settings. A transaction that stays open
-- holds readers of the log back as soon as it has an id (which `ALTER ROLE` of oneself gives the weakest login), and vacuum as
-- long as it has a snapshot. The role that owns this function can end sessions, and nothing else; only the system calls it.
-- Applied by the superuser, since nobody else may give a function to that role.
CREATE SCHEMA IF NOT EXISTS watch AUTHORIZATION lethe_watch;
REVOKE ALL ON SCHEMA watch FROM PUBLIC, lethe_api, lethe_system, lethe_access, lethe_stats, lethe_auditor, lethe_compliance,
                                lethe_dashboard;

-- Ends the sessions of our logins that are idle in a transaction for more than 30 s, or whose transaction is older than its
-- login may have one: with an id, and at all. Of the server's own logins the second is beyond all that the server does; a
-- backup and a restore are the superuser's. Says which it ended, how old their transaction was, in seconds, and its state.
CREATE OR REPLACE FUNCTION watch.end_sessions() RETURNS TABLE (login text, age_s int, state text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE held record;
BEGIN
    FOR held IN
        SELECT a.pid, a.usename::text AS login, extract(epoch FROM clock_timestamp() - a.xact_start)::int AS age_s,
               coalesce(a.state, 'unknown') AS state
        FROM (VALUES ('lethe_dashboard',       5,   300),
                     ('lethe_compliance',      5,  3600),
                     ('lethe_auditor',         5, 86400),
                     ('lethe_access',         60,    60),
                     ('lethe_api',          2400,  2400),
                     ('lethe_system',       1800,  1800),
                     ('lethe_stats',        3600,  3600)) AS bound (login, with_id_s, at_all_s)
        JOIN pg_stat_activity a ON a.usename = bound.login AND a.pid <> pg_backend_pid()
        WHERE a.state LIKE 'idle in transaction%' AND a.state_change < clock_timestamp() - interval '30 s'
           OR a.backend_xid IS NOT NULL AND a.xact_start < clock_timestamp() - make_interval(secs => with_id_s)
           OR a.xact_start < clock_timestamp() - make_interval(secs => at_all_s)
    LOOP
        IF pg_terminate_backend(held.pid) THEN
            login := held.login;
            age_s := held.age_s;
            state := held.state;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
ALTER FUNCTION watch.end_sessions() OWNER TO lethe_watch;
REVOKE ALL ON FUNCTION watch.end_sessions() FROM PUBLIC, lethe_api, lethe_access, lethe_stats, lethe_auditor, lethe_compliance,
                                                 lethe_dashboard;
GRANT USAGE ON SCHEMA watch TO lethe_system;
GRANT EXECUTE ON FUNCTION watch.end_sessions() TO lethe_system;
