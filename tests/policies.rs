//! The catalogue: who may do what, and what no catalogue of ours may hold.

use tokio_postgres::Client;

use crate::support::{Suite, World};

/// Writes `policies/matrix.snap` anew if `UPDATE_MATRIX` is set; otherwise compares it.
#[tokio::test]
async fn the_catalogue_is_what_the_matrix_says() {
    let suite = Suite::get().await;
    let client = suite.superuser(&suite.database.address.database).await;
    let rows = client.query(db::catalogue_sql(), &[]).await.expect("the catalogue is read");
    let found = db::matrix(&rows);
    if std::env::var_os("UPDATE_MATRIX").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/matrix.snap");
        std::fs::write(path, &found).expect("written");
        return;
    }
    let drift = db::drift(&found);
    assert!(drift.is_empty(), "policies/matrix.snap differs (UPDATE_MATRIX=1 writes it anew):\n{drift:#?}");
}

/// Things that no catalogue of ours may hold: a name, a statement that must find nothing, and a breach that the
/// statement must find.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    (
        "a table without row-level security, enabled and forced",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
        "CREATE TABLE read.breach (id int)",
    ),
    (
        "a table that somebody but lethe_owner owns",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm') AND pg_get_userbyid(c.relowner) <> 'lethe_owner'",
        "CREATE TABLE read.breach (id int)",
    ),
    (
        "a view that reads with its owner's rights",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
         WHERE c.relkind = 'v' AND NOT coalesce(c.reloptions @> ARRAY['security_invoker=true'], false)",
        "CREATE VIEW read.breach AS SELECT 1 AS one",
    ),
    (
        "a materialised view that a login may read",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace, unnest(logins()) AS login
         WHERE c.relkind = 'm' AND has_table_privilege(login, c.oid, 'SELECT')",
        "CREATE MATERIALIZED VIEW read.breach AS SELECT 1 AS one; GRANT SELECT ON read.breach TO lethe_api",
    ),
    (
        "a definer function without a fixed search_path, or that everybody may execute",
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN ours ON ours.oid = p.pronamespace
         WHERE p.prosecdef AND (NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%')
               OR p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))",
        "CREATE FUNCTION lethe.breach() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    ),
    (
        "a column that names a person, or something of theirs, and that the planner keeps statistics of",
        "SELECT a.attrelid::regclass || '.' || a.attname
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('log', 'vault', 'auth', 'read', 'jobs') AND c.relkind IN ('r', 'p') AND a.attnum > 0
           AND NOT a.attisdropped AND (a.atttypid IN ('uuid'::regtype, 'bytea'::regtype) OR a.attname = 'aggregate_id')
           AND (coalesce(a.attstattarget, -1) <> 0
                OR EXISTS (SELECT FROM pg_statistic s WHERE s.starelid = a.attrelid AND s.staattnum = a.attnum))",
        "ALTER TABLE read.records ALTER COLUMN subject_id SET STATISTICS -1",
    ),
    (
        "a grant of TRUNCATE, REFERENCES or TRIGGER",
        "SELECT c.oid::regclass || ' ' || login || ' ' || verb FROM pg_class c JOIN ours ON ours.oid = c.relnamespace,
                unnest(logins()) AS login, unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) AS verb
         WHERE c.relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege(login, c.oid, verb)",
        "GRANT TRUNCATE ON read.records TO lethe_api",
    ),
    (
        "a login that may make temporary tables or schemas",
        "SELECT login || ' ' || verb FROM unnest(logins()) AS login, unnest(ARRAY['TEMP', 'CREATE']) AS verb
         WHERE has_database_privilege(login, current_database(), verb)",
        "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO lethe_api', current_database()); END $$",
    ),
    (
        "a login that may create in a schema",
        "SELECT login || ' ' || n.nspname FROM unnest(logins()) AS login, pg_namespace n
         WHERE n.nspname !~ '^pg_' AND has_schema_privilege(login, n.oid, 'CREATE')",
        "GRANT CREATE ON SCHEMA read TO lethe_api",
    ),
    (
        "a policy that calls a ticket function once a row",
        "SELECT policyname FROM pg_policies p JOIN ours ON ours.nspname = p.schemaname
         WHERE regexp_replace(coalesce(qual, '') || coalesce(with_check, ''), '\\( SELECT lethe\\.', '', 'g') ~ 'lethe\\.'",
        "CREATE POLICY breach ON read.records USING (subject_id = ANY (lethe.subject_ids()))",
    ),
    (
        "a login but that of requests that may take a lock of its own choice",
        "SELECT login || ' ' || p.oid::regprocedure FROM unnest(logins()) AS login, pg_proc p
         WHERE p.proname LIKE 'pg\\_%advisory%' AND login <> 'lethe_api' AND has_function_privilege(login, p.oid, 'EXECUTE')",
        "GRANT EXECUTE ON FUNCTION pg_advisory_xact_lock(bigint) TO lethe_access",
    ),
    (
        "a helper of policies, run in its caller's search path, that leaves a schema out",
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN ours ON ours.oid = p.pronamespace
         WHERE p.proconfig IS NULL AND p.prosrc ~ '(^|[^.a-z_])(decode|encode|nullif|coalesce|current_setting|uuid|text|bytea)\\M'",
        "CREATE FUNCTION lethe.breach() RETURNS bytea LANGUAGE sql AS 'SELECT decode(''00'', ''hex'')'",
    ),
    (
        "a table about people whose primary key does not begin with subject_id",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'subject_id'
         WHERE c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indkey[0] = a.attnum)",
        "CREATE TABLE read.breach (id int PRIMARY KEY, subject_id uuid)",
    ),
    (
        "a login that is superuser, bypasses row-level security, owns or inherits something",
        "SELECT rolname FROM pg_roles r WHERE rolname = ANY (logins())
         AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
              OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid) OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid))",
        "ALTER ROLE lethe_api CREATEDB",
    ),
];

async fn found(client: &Client, what: &str, sql: &str) -> Vec<String> {
    let rows = client.query(&sql.replace("logins()", "pg_temp.logins()"), &[]).await.expect(what);
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn the_catalogue_holds_nothing_forbidden() {
    let world = World::new().await;
    let client = world.superuser().await;
    client
        .batch_execute(
            "CREATE TEMP VIEW ours AS SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema';
             CREATE FUNCTION pg_temp.logins() RETURNS text[] LANGUAGE sql
             AS $$ SELECT array_agg(rolname::text) FROM pg_roles WHERE rolname LIKE 'lethe\\_%' AND rolcanlogin $$",
        )
        .await
        .expect("helpers");
    for (what, sql, breach) in FORBIDDEN {
        assert_eq!(found(&client, what, sql).await, [""; 0], "{what}");
        client.batch_execute(&format!("BEGIN; {breach}")).await.expect(what);
        assert!(!found(&client, what, sql).await.is_empty(), "the lint does not see {what}");
        client.batch_execute("ROLLBACK").await.expect(what);
    }
}

#[tokio::test]
async fn whoever_opens_a_door_stops_the_server() {
    let world = World::new().await;
    let client = world.superuser().await;
    for (opens, closes, named) in [
        (
            "CREATE POLICY breach ON vault.records USING (true)",
            "DROP POLICY breach ON vault.records",
            "vault.records breach",
        ),
        (
            "ALTER TABLE read.records NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE read.records FORCE ROW LEVEL SECURITY",
            "read.records",
        ),
        (
            "GRANT SELECT ON log.events TO lethe_dashboard",
            "REVOKE SELECT ON log.events FROM lethe_dashboard",
            "lethe_dashboard",
        ),
        (
            "ALTER TABLE log.events DISABLE TRIGGER events_append_only",
            "ALTER TABLE log.events ENABLE ALWAYS TRIGGER events_append_only",
            "events_append_only",
        ),
        (
            "DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO PUBLIC', current_database()); END $$",
            "DO $$ BEGIN EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database()); END $$",
            "database this PUBLIC CONNECT",
        ),
        (
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET row_security = off', current_database()); END $$",
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$",
            "setting everybody in this database row_security=off",
        ),
        (
            "DO $$ BEGIN EXECUTE format('ALTER ROLE lethe_api IN DATABASE %I SET log_statement = none', current_database()); END $$",
            "DO $$ BEGIN EXECUTE format('ALTER ROLE lethe_api IN DATABASE %I RESET ALL', current_database()); END $$",
            "+ setting lethe_api in this database log_statement=none",
        ),
        (
            "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO lethe_dashboard",
            "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM lethe_dashboard",
            "core function pg_read_file(text) lethe_dashboard",
        ),
        (
            "GRANT EXECUTE ON FUNCTION pg_stat_file(text) TO PUBLIC",
            "REVOKE EXECUTE ON FUNCTION pg_stat_file(text) FROM PUBLIC",
            "core function pg_stat_file(text) PUBLIC",
        ),
        (
            "GRANT EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) TO PUBLIC",
            "REVOKE EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) FROM PUBLIC",
            "core function pg_terminate_backend(integer,bigint) PUBLIC",
        ),
        (
            "GRANT SELECT ON pg_authid TO lethe_dashboard",
            "REVOKE SELECT ON pg_authid FROM lethe_dashboard",
            "core table pg_authid lethe_dashboard SELECT",
        ),
        (
            "GRANT SELECT (rolpassword) ON pg_authid TO PUBLIC",
            "REVOKE SELECT (rolpassword) ON pg_authid FROM PUBLIC",
            "core column pg_authid.rolpassword PUBLIC SELECT",
        ),
        (
            "CREATE FUNCTION pg_catalog.now(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "DROP FUNCTION pg_catalog.now(int)",
            "core surplus now(integer)",
        ),
        (
            "GRANT CREATE ON SCHEMA public TO PUBLIC",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            "schema public PUBLIC CREATE",
        ),
        (
            "ALTER SCHEMA jobs OWNER TO lethe_dashboard",
            "ALTER SCHEMA jobs OWNER TO lethe_owner",
            "schema jobs owner=lethe_dashboard",
        ),
        (
            "ALTER FUNCTION lethe.ring_floor() OWNER TO lethe_dashboard",
            "ALTER FUNCTION lethe.ring_floor() OWNER TO lethe_owner",
            "lethe.ring_floor() owner=lethe_dashboard",
        ),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE lethe_owner GRANT SELECT ON TABLES TO lethe_dashboard",
            "ALTER DEFAULT PRIVILEGES FOR ROLE lethe_owner REVOKE SELECT ON TABLES FROM lethe_dashboard",
            "default privileges of lethe_owner in every schema on r: lethe_dashboard SELECT",
        ),
        ("CREATE PUBLICATION breach FOR ALL TABLES", "DROP PUBLICATION breach", "publication breach"),
        ("CREATE FOREIGN DATA WRAPPER breach", "DROP FOREIGN DATA WRAPPER breach", "foreign data wrapper breach"),
        (
            "CREATE FUNCTION public.breach() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
             CREATE EVENT TRIGGER breach ON ddl_command_end EXECUTE FUNCTION public.breach()",
            "DROP EVENT TRIGGER breach; DROP FUNCTION public.breach()",
            "event trigger breach",
        ),
    ] {
        client.batch_execute(opens).await.expect(opens);
        let drift = lethe::jobs::check_policies(&world.app).await.expect("the catalogue is read");
        let drift = drift.expect_err(opens);
        assert!(drift.0.iter().any(|line| line.contains(named)), "{opens}: {drift}");
        client.batch_execute(closes).await.expect(closes);
        assert!(lethe::jobs::check_policies(&world.app).await.expect("the catalogue is read").is_ok(), "{closes}");
    }
}
