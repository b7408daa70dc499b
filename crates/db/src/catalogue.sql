-- catalogue
WITH ours AS (SELECT oid, nspname FROM pg_namespace
              WHERE nspname IN ('lethe', 'log', 'vault', 'auth', 'read', 'jobs', 'stats', 'watch')),
rel AS (SELECT c.*, n.nspname || '.' || c.relname AS full_name FROM pg_class c JOIN ours n ON n.oid = c.relnamespace),
who AS (SELECT oid, rolname FROM pg_roles UNION ALL SELECT 0, 'PUBLIC'),
-- Everybody, and our roles.
whom AS (SELECT * FROM who WHERE oid = 0 OR rolname LIKE 'lethe\_%'),
-- Connections of one login may not keep the others, or the superuser, out.
bounded AS (SELECT sum(rolconnlimit) FILTER (WHERE rolcanlogin) <= greatest(48, current_setting('max_connections')::int
                   - current_setting('superuser_reserved_connections')::int
                   - coalesce(current_setting('reserved_connections', true), '0')::int)
                   AND bool_and(rolconnlimit >= 0) AS is_so
            FROM pg_roles WHERE rolname LIKE 'lethe\_%'),
weak AS (SELECT unnest(ARRAY['lethe_auditor', 'lethe_compliance', 'lethe_dashboard']) AS name)
SELECT line FROM (
    SELECT format('role %s login=%s super=%s bypassrls=%s createrole=%s createdb=%s replication=%s inherit=%s until=%s connections=%s '
                  'member_of=[%s]', r.rolname, r.rolcanlogin, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb,
                  r.rolreplication, r.rolinherit, coalesce(r.rolvaliduntil, 'infinity'),
                  -- The strong logins' limits follow from the cluster's; together they must fit.
                  CASE WHEN r.rolcanlogin AND r.rolname NOT IN (SELECT name FROM weak) AND b.is_so THEN 'bounded'
                       ELSE r.rolconnlimit::text END,
                  (SELECT string_agg(g.rolname, ',' ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                   WHERE m.member = r.oid)) AS line
    FROM pg_roles r, bounded b WHERE r.rolname LIKE 'lethe\_%'
    UNION ALL
    SELECT format('member %s of %s', pg_get_userbyid(member), pg_get_userbyid(roleid)) FROM pg_auth_members
    WHERE pg_get_userbyid(roleid) LIKE 'lethe\_%'
    UNION ALL
    -- A login may set for itself what every session may set; anything else took a superuser. Names with a dot are of extensions,
    -- or made up; pg_settings shows neither them nor some of the server's own.
    SELECT format('%s %s%s %s', CASE WHEN r.rolcanlogin AND (g.context = 'user' OR item ~ '^[^=]*\.' OR item ~ ('^(role|session_authorization|seed'
                                              '|transaction_(isolation|read_only|deferrable)|default_with_oids|ssl_renegotiation_limit)='))
                                     THEN 'own setting' ELSE 'setting' END,
                  coalesce(r.rolname, 'everybody'), CASE WHEN s.setdatabase = 0 THEN '' ELSE ' in this database' END, item)
    FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS item
    LEFT JOIN pg_roles r ON r.oid = s.setrole
    LEFT JOIN pg_settings g ON lower(g.name) = lower(split_part(item, '=', 1))
    WHERE (r.rolname LIKE 'lethe\_%' OR s.setrole = 0 AND s.setdatabase <> 0)
      AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    UNION ALL
    SELECT format('parameter %s %s %s', p.parname, w.rolname, a.privilege_type)
    FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) a JOIN whom w ON w.oid = a.grantee
    UNION ALL
    SELECT format('database %s owner=%s', CASE WHEN d.datname = current_database() THEN 'this' ELSE d.datname END,
                  CASE WHEN r.rolsuper THEN 'a superuser' ELSE r.rolname END)
    FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = current_database()
    UNION ALL
    SELECT format('database %s %s %s', CASE WHEN d.datname = current_database() THEN 'this' ELSE d.datname END, w.rolname,
                  a.privilege_type)
    FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a JOIN whom w ON w.oid = a.grantee
    WHERE d.datname IN (current_database(), 'postgres', 'template1') AND w.rolname <> 'lethe_owner'
    UNION ALL
    SELECT format('tablespace %s %s %s', t.spcname, w.rolname, a.privilege_type)
    FROM pg_tablespace t CROSS JOIN LATERAL aclexplode(coalesce(t.spcacl, acldefault('t', t.spcowner))) a
         JOIN whom w ON w.oid = a.grantee
    UNION ALL
    SELECT format('schema %s owner=%s', n.nspname, pg_get_userbyid(n.nspowner)) FROM pg_namespace n JOIN ours USING (oid)
    UNION ALL
    -- Of every schema: nobody of ours makes anything, and what everybody may use is known.
    SELECT format('schema %s %s %s', n.nspname, w.rolname, a.privilege_type)
    FROM pg_namespace n CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
         JOIN who w ON w.oid = a.grantee
    WHERE n.nspname !~ '^pg_(toast|temp)' AND a.grantee <> n.nspowner
      AND (n.oid IN (SELECT oid FROM ours) OR w.oid IN (SELECT oid FROM whom))
    UNION ALL
    SELECT format('table %s owner=%s rls=%s forced=%s', full_name, pg_get_userbyid(relowner), relrowsecurity, relforcerowsecurity)
    FROM rel WHERE relkind IN ('r', 'p')
    UNION ALL
    SELECT format('view %s owner=%s kind=%s options=%s', full_name, pg_get_userbyid(relowner), relkind, reloptions)
    FROM rel WHERE relkind IN ('v', 'm', 'f')
    UNION ALL
    SELECT format('sequence %s owner=%s', full_name, pg_get_userbyid(relowner)) FROM rel WHERE relkind = 'S'
    UNION ALL
    SELECT format('grant %s %s %s', full_name, w.rolname, a.privilege_type)
    FROM rel CROSS JOIN LATERAL aclexplode(relacl) a JOIN who w ON w.oid = a.grantee WHERE a.grantee <> rel.relowner
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
                   WHERE a.grantee <> p.proowner),
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
    SELECT format('event trigger %s enabled=%s %s', e.evtname, e.evtenabled, e.evtfoid::regprocedure) FROM pg_event_trigger e
    UNION ALL
    SELECT format('default privileges of %s in %s on %s: %s %s', pg_get_userbyid(d.defaclrole), coalesce(n.nspname, 'every schema'),
                  d.defaclobjtype, w.rolname, a.privilege_type)
    FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace CROSS JOIN LATERAL aclexplode(d.defaclacl) a
         JOIN whom w ON w.oid = a.grantee
    UNION ALL
    SELECT format('extension %s', extname) FROM pg_extension WHERE extname <> 'plpgsql'
    UNION ALL
    SELECT format('language %s', lanname) FROM pg_language WHERE lanname NOT IN ('internal', 'c', 'sql', 'plpgsql')
    UNION ALL
    SELECT format('foreign data wrapper %s', fdwname) FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT format('foreign server %s', srvname) FROM pg_foreign_server
    UNION ALL
    SELECT format('user mapping %s %s', srvname, usename) FROM pg_user_mappings
    UNION ALL
    SELECT format('publication %s', pubname) FROM pg_publication
    UNION ALL
    SELECT format('subscription %s', subname) FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL
    -- Of the server's own functions: what ours or everybody may call beyond what initdb left, and whatever is said of some. A
    -- lock stops others, a large object is a place outside every policy, a message fills the write-ahead log.
    SELECT format('core function %s %s', p.oid::regprocedure, w.rolname)
    FROM pg_proc p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a JOIN whom w ON w.oid = a.grantee
         LEFT JOIN pg_init_privs i ON i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass AND i.objsubid = 0
    WHERE p.pronamespace = 'pg_catalog'::regnamespace
      AND (p.proname LIKE 'pg\_%advisory%' OR p.proname ~ '^(lo_|lowrite$|loread$)'
           OR p.proname IN ('pg_logical_emit_message', 'pg_terminate_backend', 'pg_cancel_backend')
           OR p.proacl IS NOT NULL AND NOT EXISTS (
                  SELECT FROM aclexplode(coalesce(i.initprivs, acldefault('f', p.proowner))) b
                  WHERE b.grantee = a.grantee AND b.privilege_type = a.privilege_type))
    UNION ALL
    SELECT format('core table %s %s %s', c.oid::regclass, w.rolname, a.privilege_type)
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a JOIN whom w ON w.oid = a.grantee
         LEFT JOIN pg_init_privs i ON i.objoid = c.oid AND i.classoid = 'pg_class'::regclass AND i.objsubid = 0
    -- (The views of information_schema, which everybody may read, are made after initdb has noted what it grants.)
    WHERE (c.relnamespace = 'pg_catalog'::regnamespace
           OR c.relnamespace = 'information_schema'::regnamespace AND (a.grantee <> 0 OR a.privilege_type <> 'SELECT'))
      AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) b WHERE b.grantee = a.grantee AND b.privilege_type = a.privilege_type)
    UNION ALL
    SELECT format('core column %s.%s %s %s', c.oid::regclass, t.attname, w.rolname, a.privilege_type)
    FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid CROSS JOIN LATERAL aclexplode(t.attacl) a JOIN whom w ON w.oid = a.grantee
         LEFT JOIN pg_init_privs i ON i.objoid = c.oid AND i.classoid = 'pg_class'::regclass AND i.objsubid = t.attnum
    WHERE c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
      AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) b WHERE b.grantee = a.grantee AND b.privilege_type = a.privilege_type)
    UNION ALL
    -- What somebody made among them (objects of the server itself have numbers below 16384): a name without a schema finds it.
    SELECT format('core surplus %s', p.oid::regprocedure) FROM pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid >= 16384
    UNION ALL
    SELECT format('core surplus %s', o.oid::regoperator) FROM pg_operator o
    WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oid >= 16384
    UNION ALL
    SELECT format('core surplus %s', c.oid::regclass) FROM pg_class c
    WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.oid >= 16384
) facts ORDER BY line COLLATE "C"
