-- Restriction, holds, and the end of a deletion's grace: switches of an account, turned under that person's ticket.
GRANT UPDATE (restricted_at, deletion_at, held_until, hold_sealed) ON read.accounts TO lethe_api;
CREATE POLICY accounts_own_switch ON read.accounts FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
