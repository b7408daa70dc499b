-- What EXPLAIN may tell. Whoever may read a table may ask how many rows the planner expects, and row-level security does not hide
-- the answer. Statistics of a column that names a person, or something of theirs, would so tell how many rows somebody has. Such
-- columns have none: ids, keyed hashes and the names of streams. Every statement of ours finds rows by key and needs none.
DO $$
DECLARE item record;
BEGIN
    FOR item IN SELECT n.nspname, c.relname, a.attname
                FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname IN ('log', 'vault', 'auth', 'read', 'jobs') AND c.relkind IN ('r', 'p')
                  AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(a.attstattarget, -1) <> 0
                  AND (a.atttypid IN ('uuid'::regtype, 'bytea'::regtype) OR a.attname = 'aggregate_id') LOOP
        EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I SET STATISTICS 0', item.nspname, item.relname, item.attname);
    END LOOP;
END $$;
