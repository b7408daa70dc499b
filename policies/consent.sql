-- Consents. A person's decisions are read and written under that person's ticket.
GRANT SELECT, INSERT, UPDATE ON read.consents TO lethe_api;
CREATE POLICY consents_own_read ON read.consents FOR SELECT TO lethe_api USING (subject_id = (SELECT lethe.subject_id()));
CREATE POLICY consents_own_add ON read.consents FOR INSERT TO lethe_api WITH CHECK (subject_id = (SELECT lethe.subject_id()));
CREATE POLICY consents_own_change ON read.consents FOR UPDATE TO lethe_api
    USING (subject_id = (SELECT lethe.subject_id())) WITH CHECK (subject_id = (SELECT lethe.subject_id()));
