-- The vault. A person's keys and register are reached under that person's ticket only; lethe_system reads none.
GRANT USAGE ON SCHEMA vault TO lethe_api;
GRANT SELECT, INSERT ON vault.subjects TO lethe_api;
GRANT UPDATE (ring_version, wrapping_version, wrapping_key) ON vault.subjects TO lethe_api;
GRANT SELECT, INSERT, DELETE ON vault.records TO lethe_api;
GRANT UPDATE (wrapped_key) ON vault.records TO lethe_api;

CREATE POLICY subjects_own_read ON vault.subjects FOR SELECT TO lethe_api USING (subject_id = (SELECT lethe.subject_id()));
CREATE POLICY subjects_own_add ON vault.subjects FOR INSERT TO lethe_api WITH CHECK (subject_id = (SELECT lethe.subject_id()));
CREATE POLICY subjects_own_rewrap ON vault.subjects FOR UPDATE TO lethe_api
    USING (subject_id = (SELECT lethe.subject_id())) WITH CHECK (subject_id = (SELECT lethe.subject_id()));

CREATE POLICY records_own_read ON vault.records FOR SELECT TO lethe_api USING (subject_id = (SELECT lethe.subject_id()));
CREATE POLICY records_own_add ON vault.records FOR INSERT TO lethe_api WITH CHECK (subject_id = (SELECT lethe.subject_id()));
CREATE POLICY records_own_rewrap ON vault.records FOR UPDATE TO lethe_api
    USING (subject_id = (SELECT lethe.subject_id())) WITH CHECK (subject_id = (SELECT lethe.subject_id()));
CREATE POLICY records_own_remove ON vault.records FOR DELETE TO lethe_api USING (subject_id = (SELECT lethe.subject_id()));
