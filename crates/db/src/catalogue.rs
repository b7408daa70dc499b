//! The catalogue as it stands: who may do what, read off a live database, one line a fact.
//!
//! `policies/matrix.snap` is what it must be. A test compares the two after a migration; the server compares them when it
//! starts and from time to time, and stops where they differ: it never opens further to stay available.

use crate::{Query, Row};

/// What the catalogue must be.
pub const MATRIX: &str = include_str!("../../../policies/matrix.snap");

const SQL: &str = r#"-- catalogue
WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('lethe', 'log', 'vault', 'auth', 'read', 'jobs', 'stats')),
rel AS (SELECT c.*, n.nspname || '.' || c.relname AS full_name FROM pg_class c JOIN ours n ON n.oid = c.relnamespace),
who AS (SELECT oid, rolname FROM pg_roles UNION ALL SELECT 0, 'PUBLIC')
SELECT line FROM (
    SELECT format('role %s login=%s super=%s bypassrls=%s createrole=%s createdb=%s replication=%s member_of=[%s]', r.rolname,
                  r.rolcanlogin, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication,
                  (SELECT string_agg(g.rolname, ',' ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                   WHERE m.member = r.oid)) AS line
    FROM pg_roles r WHERE r.rolname LIKE 'lethe\_%'
    UNION ALL
    SELECT format('schema %s %s %s', n.nspname, w.rolname, a.privilege_type)
    FROM pg_namespace n JOIN ours USING (oid) CROSS JOIN LATERAL aclexplode(n.nspacl) a JOIN who w ON w.oid = a.grantee
    WHERE w.rolname <> 'lethe_owner'
    UNION ALL
    SELECT format('table %s owner=%s rls=%s forced=%s', full_name, pg_get_userbyid(relowner), relrowsecurity, relforcerowsecurity)
    FROM rel WHERE relkind IN ('r', 'p')
    UNION ALL
    SELECT format('view %s owner=%s kind=%s options=%s', full_name, pg_get_userbyid(relowner), relkind, reloptions)
    FROM rel WHERE relkind IN ('v', 'm', 'f')
    UNION ALL
    SELECT format('grant %s %s %s', full_name, w.rolname, a.privilege_type)
    FROM rel CROSS JOIN LATERAL aclexplode(relacl) a JOIN who w ON w.oid = a.grantee WHERE w.rolname <> 'lethe_owner'
    UNION ALL
    SELECT format('grant %s (%s) %s %s', full_name, string_agg(t.attname, ', ' ORDER BY t.attnum), w.rolname, a.privilege_type)
    FROM rel JOIN pg_attribute t ON t.attrelid = rel.oid CROSS JOIN LATERAL aclexplode(t.attacl) a
         JOIN who w ON w.oid = a.grantee
    GROUP BY full_name, w.rolname, a.privilege_type
    UNION ALL
    SELECT format('policy %s.%s %s %s %s to=%s using=%s check=%s', p.schemaname, p.tablename, p.policyname, p.permissive, p.cmd,
                  p.roles, regexp_replace(p.qual, '\s+', ' ', 'g'), regexp_replace(p.with_check, '\s+', ' ', 'g'))
    FROM pg_policies p JOIN ours ON ours.nspname = p.schemaname
    UNION ALL
    SELECT format('function %s.%s(%s) owner=%s definer=%s settings=%s execute=[%s] body=%s', n.nspname, p.proname,
                  pg_get_function_identity_arguments(p.oid), pg_get_userbyid(p.proowner), p.prosecdef, p.proconfig,
                  (SELECT string_agg(w.rolname, ',' ORDER BY w.rolname)
                   FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a JOIN who w ON w.oid = a.grantee
                   WHERE w.rolname <> 'lethe_owner'),
                  left(encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex'), 16))
    FROM pg_proc p JOIN ours n ON n.oid = p.pronamespace
    UNION ALL
    SELECT format('trigger %s %s enabled=%s %s', full_name, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid))
    FROM rel JOIN pg_trigger t ON t.tgrelid = rel.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT format('no estimates %s (%s)', full_name, string_agg(t.attname, ', ' ORDER BY t.attnum))
    FROM rel JOIN pg_attribute t ON t.attrelid = rel.oid WHERE relkind IN ('r', 'p') AND t.attnum > 0 AND t.attstattarget = 0
    GROUP BY full_name
    UNION ALL
    SELECT format('rule %s %s', full_name, r.rulename) FROM rel JOIN pg_rewrite r ON r.ev_class = rel.oid
    UNION ALL
    SELECT format('member %s of %s', pg_get_userbyid(member), pg_get_userbyid(roleid)) FROM pg_auth_members
    WHERE pg_get_userbyid(roleid) LIKE 'lethe\_%'
    UNION ALL
    SELECT format('core function %s %s', p.oid::regprocedure, coalesce(w.rolname, 'nobody'))
    FROM pg_proc p LEFT JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a ON a.grantee <> p.proowner
         LEFT JOIN who w ON w.oid = a.grantee
    WHERE p.pronamespace = 'pg_catalog'::regnamespace
      AND (p.proname LIKE 'pg\_%advisory%' OR p.proname ~ '^(lo_|lowrite$|loread$)')
      AND a.grantee IS NOT NULL
) facts ORDER BY line COLLATE "C""#;

/// The statement that reads the catalogue; any login may.
pub fn catalogue() -> Query {
    Query::new(SQL)
}

/// The same for a superuser's connection.
pub fn catalogue_sql() -> &'static str {
    SQL
}

/// The catalogue as text, one line a fact.
pub fn matrix(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", row.get::<_, &str>(0))).collect()
}

/// The lines that differ from what must be: `-` is missing, `+` is too much.
pub fn drift(found: &str) -> Vec<String> {
    let missing =
        MATRIX.lines().filter(|line| !found.lines().any(|other| other == *line)).map(|line| format!("- {line}"));
    let surplus =
        found.lines().filter(|line| !MATRIX.lines().any(|other| other == *line)).map(|line| format!("+ {line}"));
    missing.chain(surplus).collect()
}
