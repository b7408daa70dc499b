-- Records. The read model of living records belongs to the person it is about.
GRANT USAGE ON SCHEMA read TO lethe_api, lethe_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON read.records TO lethe_api;
CREATE POLICY records_own_read ON read.records FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY records_own_add ON read.records FOR INSERT TO lethe_api WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY records_own_replace ON read.records FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY records_own_remove ON read.records FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
