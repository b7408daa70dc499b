-- The vault. A person's keys and register are reached under that person's ticket only; lethe_system reads none. No ticket
-- writes keys under a version of the ring's key-encryption key that is below the floor: a rotation raises it before it moves
-- what is under the older version, so that nothing comes under that version behind its back.
GRANT USAGE ON SCHEMA vault TO lethe_api;
GRANT SELECT, INSERT ON vault.subjects TO lethe_api;
GRANT UPDATE (ring_version, wrapping_version, index_key, trail_key, wrapping_key) ON vault.subjects TO lethe_api;
GRANT SELECT, INSERT, DELETE ON vault.records TO lethe_api;
GRANT UPDATE (wrapped_key) ON vault.records TO lethe_api;

CREATE POLICY subjects_own_read ON vault.subjects FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY subjects_own_add ON vault.subjects FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[])
                AND NOT EXISTS (SELECT FROM vault.erased e WHERE e.subject_id = subjects.subject_id));
CREATE POLICY subjects_own_rewrap ON vault.subjects FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));

CREATE POLICY subjects_floor_add ON vault.subjects AS RESTRICTIVE FOR INSERT TO lethe_api
    WITH CHECK (ring_version >= (SELECT lethe.ring_floor()));
CREATE POLICY subjects_floor_rewrap ON vault.subjects AS RESTRICTIVE FOR UPDATE TO lethe_api
    WITH CHECK (ring_version >= (SELECT lethe.ring_floor()));

CREATE POLICY records_own_read ON vault.records FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY records_own_add ON vault.records FOR INSERT TO lethe_api WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY records_own_rewrap ON vault.records FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY records_own_remove ON vault.records FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
