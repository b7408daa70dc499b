-- The public list of hospitals is fixed before the quarter it counts for, and each release says which list it used.
-- Adds columns without a default, which rewrites no table; locks the two tables for that moment.

-- The first day of the first quarter that has cells for a hospital. Absent of hospitals that were listed before this migration:
-- they count from the quarter after the one in which they were added.
ALTER TABLE stats.hospitals ADD COLUMN counts_from date;

-- SHA-256 of the list that a release had cells for, as the log's events say it too. Absent of releases before this migration: they
-- used the list as it was when they were drawn.
ALTER TABLE stats.releases ADD COLUMN hospitals_sha256 text;

-- A hospital that was listed stays, unchanged, for everyone, the owner included: the cells of a quarter are public and fixed.
CREATE TRIGGER hospitals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stats.hospitals
    FOR EACH STATEMENT EXECUTE FUNCTION stats.refuse_change();
ALTER TABLE stats.hospitals ENABLE ALWAYS TRIGGER hospitals_append_only;
