-- The log. A person's events are written and read under that person's ticket, stamped with the present time; reads of
-- personal data are written by lethe_access, which can write nothing else. The system reads on under its own ticket;
-- auditors and compliance staff read all of it, since nothing in it is in clear about anyone. Nobody changes an event.
GRANT USAGE ON SCHEMA log TO lethe_api, lethe_access, lethe_system, lethe_auditor, lethe_compliance;
GRANT SELECT ON log.events TO lethe_api, lethe_system, lethe_auditor, lethe_compliance;
GRANT INSERT (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id, subject_id,
              kind, recorded_at) ON log.events TO lethe_api, lethe_access;

CREATE POLICY events_own_read ON log.events FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY events_own_append ON log.events FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]) AND aggregate_type <> 'access'
                AND recorded_at BETWEEN statement_timestamp() - interval '2 minutes' AND statement_timestamp() + interval '2 minutes');
CREATE POLICY events_access_append ON log.events FOR INSERT TO lethe_access
    -- A read may be stored late, after an outage, and never early.
    WITH CHECK (aggregate_type = 'access' AND (SELECT lethe.ticket_role()) = 'system'
                AND recorded_at <= statement_timestamp() + interval '2 minutes');
CREATE POLICY events_system_read ON log.events FOR SELECT TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY events_audit_read ON log.events FOR SELECT TO lethe_auditor USING (true);
CREATE POLICY events_compliance_read ON log.events FOR SELECT TO lethe_compliance USING (true);
