//! What the catalogue says: who may do what, and what no catalogue of ours may hold.

use crate::support::Suite;

/// Writes `policies/matrix.snap` anew where `UPDATE_MATRIX` is set; otherwise compares.
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
    assert!(drift.is_empty(), "policies/matrix.snap differs (UPDATE_MATRIX=1 writes it anew):\n{}", drift.join("\n"));
}

/// Things that no catalogue of ours may hold, each as a statement that must find nothing.
const FORBIDDEN: &[(&str, &str)] = &[
    (
        "a table without row-level security, enabled and forced",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    ),
    (
        "a table that somebody but lethe_owner owns",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm') AND pg_get_userbyid(c.relowner) <> 'lethe_owner'",
    ),
    (
        "a view that reads with its owner's rights",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
         WHERE c.relkind = 'v' AND NOT coalesce(c.reloptions @> ARRAY['security_invoker=true'], false)",
    ),
    (
        "a materialised view that a login may read",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace, unnest(logins()) AS login
         WHERE c.relkind = 'm' AND has_table_privilege(login, c.oid, 'SELECT')",
    ),
    (
        "a definer function without a fixed search_path, or that everybody may execute",
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN ours ON ours.oid = p.pronamespace
         WHERE p.prosecdef AND (NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%')
               OR p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))",
    ),
    (
        "a grant of TRUNCATE, REFERENCES or TRIGGER",
        "SELECT c.oid::regclass || ' ' || login || ' ' || verb FROM pg_class c JOIN ours ON ours.oid = c.relnamespace,
                unnest(logins()) AS login, unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) AS verb
         WHERE c.relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege(login, c.oid, verb)",
    ),
    (
        "a login that may make temporary tables or schemas",
        "SELECT login || ' ' || verb FROM unnest(logins()) AS login, unnest(ARRAY['TEMP', 'CREATE']) AS verb
         WHERE has_database_privilege(login, current_database(), verb)",
    ),
    (
        "a login that may create in a schema",
        "SELECT login || ' ' || n.nspname FROM unnest(logins()) AS login, pg_namespace n
         WHERE n.nspname !~ '^pg_' AND has_schema_privilege(login, n.oid, 'CREATE')",
    ),
    (
        "a policy that calls a ticket function once a row",
        "SELECT policyname FROM pg_policies p JOIN ours ON ours.nspname = p.schemaname
         WHERE regexp_replace(coalesce(qual, '') || coalesce(with_check, ''), '\\( SELECT lethe\\.', '', 'g') ~ 'lethe\\.'",
    ),
    (
        "a table about people whose primary key does not begin with subject_id",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'subject_id'
         WHERE c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indkey[0] = a.attnum)",
    ),
    (
        "a login that is superuser, bypasses row-level security, owns or inherits something",
        "SELECT rolname FROM pg_roles r WHERE rolname = ANY (logins())
         AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
              OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid) OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid))",
    ),
];

#[tokio::test]
async fn the_catalogue_holds_nothing_forbidden() {
    let suite = Suite::get().await;
    let client = suite.superuser(&suite.database.address.database).await;
    client
        .batch_execute(
            "CREATE TEMP VIEW ours AS SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('lethe', 'log', 'vault', 'auth', 'read');
             CREATE FUNCTION pg_temp.logins() RETURNS text[] LANGUAGE sql
             AS $$ SELECT array_agg(rolname::text) FROM pg_roles WHERE rolname LIKE 'lethe\\_%' AND rolcanlogin $$",
        )
        .await
        .expect("helpers");
    for (what, sql) in FORBIDDEN {
        let rows = client.query(&sql.replace("logins()", "pg_temp.logins()"), &[]).await.expect(what);
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}
