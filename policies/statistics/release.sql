-- Statistics. Published tables are public: dashboards read them and nothing else. They are made under a ticket of role
-- `statistics`, which opens the keys of those only who consent to the purpose, are not restricted and do not wait for a
-- deletion; of sealed records, work days and the history of work profiles. It knows which accounts there are, and writes for each
-- of them that a release considered it: what it read of whom stands sealed in that entry. It writes releases, once.
GRANT USAGE ON SCHEMA stats TO lethe_stats, lethe_api, lethe_dashboard, lethe_auditor, lethe_compliance;
GRANT USAGE ON SCHEMA vault, read, log TO lethe_stats;

GRANT SELECT (subject_id, purpose, granted, objected, notice_version) ON read.consents TO lethe_stats;
CREATE POLICY consents_statistics_read ON read.consents FOR SELECT TO lethe_stats
    USING ((SELECT lethe.ticket_role()) = 'statistics' AND purpose = 'statistics' AND granted AND NOT objected);
GRANT SELECT (subject_id, restricted_at, deletion_at) ON read.accounts TO lethe_stats;
CREATE POLICY accounts_statistics_read ON read.accounts FOR SELECT TO lethe_stats
    USING ((SELECT lethe.ticket_role()) = 'statistics');
GRANT SELECT ON vault.subjects TO lethe_stats;
CREATE POLICY subjects_statistics_read ON vault.subjects FOR SELECT TO lethe_stats
    USING ((SELECT lethe.ticket_role()) = 'statistics'
           AND EXISTS (SELECT FROM read.consents c WHERE c.subject_id = subjects.subject_id AND c.purpose = 'statistics')
           AND EXISTS (SELECT FROM read.accounts a WHERE a.subject_id = subjects.subject_id
                       AND a.restricted_at IS NULL AND a.deletion_at IS NULL));
GRANT SELECT ON vault.records TO lethe_stats;
CREATE POLICY records_statistics_read ON vault.records FOR SELECT TO lethe_stats
    USING ((SELECT lethe.ticket_role()) = 'statistics' AND kind IN ('work_day', 'work_profile'));
GRANT SELECT ON read.records TO lethe_stats;
CREATE POLICY records_statistics_read ON read.records FOR SELECT TO lethe_stats
    USING ((SELECT lethe.ticket_role()) = 'statistics' AND kind = 'work_day');

GRANT SELECT ON log.events TO lethe_stats;
GRANT INSERT (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id, subject_id,
              kind, recorded_at) ON log.events TO lethe_stats;
CREATE POLICY events_statistics_read ON log.events FOR SELECT TO lethe_stats
    USING ((SELECT lethe.ticket_role()) = 'statistics'
           AND (aggregate_type = 'record' AND kind = 'work_profile'
                OR subject_id = '00000000-0000-0000-0000-000000000000' AND aggregate_type IN ('plan', 'release')));
CREATE POLICY events_statistics_append ON log.events FOR INSERT TO lethe_stats
    WITH CHECK ((SELECT lethe.ticket_role()) = 'statistics'
                AND (aggregate_type = 'access'
                     OR subject_id = '00000000-0000-0000-0000-000000000000' AND aggregate_type IN ('plan', 'release'))
                AND recorded_at BETWEEN statement_timestamp() - interval '2 minutes' AND statement_timestamp() + interval '2 minutes');

GRANT EXECUTE ON FUNCTION stats.refuse_change(), stats.check_budget(), stats.alone() TO lethe_stats;
-- The function that holds a quarter's budget adds up what was spent with its owner's rights.
CREATE POLICY spending_checked ON stats.spending FOR SELECT TO lethe_owner USING (true);
GRANT SELECT, INSERT ON stats.hospitals TO lethe_stats;
CREATE POLICY hospitals_read ON stats.hospitals FOR SELECT TO lethe_stats USING (true);
CREATE POLICY hospitals_add ON stats.hospitals FOR INSERT TO lethe_stats WITH CHECK ((SELECT lethe.ticket_role()) = 'statistics');
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['releases', 'spending', 'ledger', 'stats_by_state_specialty', 'stats_by_hospital_role',
                                'stats_by_state_role'] LOOP
        EXECUTE format('GRANT SELECT, INSERT ON stats.%I TO lethe_stats', name);
        EXECUTE format('CREATE POLICY %I ON stats.%I FOR SELECT TO lethe_stats USING (true)', name || '_statistics_read', name);
        EXECUTE format('CREATE POLICY %I ON stats.%I FOR INSERT TO lethe_stats WITH CHECK ((SELECT lethe.ticket_role()) = %L)',
                       name || '_statistics_add', name, 'statistics');
    END LOOP;
    -- Everything but what was drawn for cells that are not published.
    FOREACH name IN ARRAY ARRAY['releases', 'spending', 'stats_by_state_specialty', 'stats_by_hospital_role',
                                'stats_by_state_role'] LOOP
        EXECUTE format('GRANT SELECT ON stats.%I TO lethe_api, lethe_dashboard, lethe_auditor, lethe_compliance', name);
        EXECUTE format('CREATE POLICY %I ON stats.%I FOR SELECT TO lethe_api, lethe_dashboard, lethe_auditor, lethe_compliance '
                       'USING (true)', name || '_public', name);
    END LOOP;
END $$;
-- Which cells there are is public: the API lists those that are suppressed too.
GRANT SELECT ON stats.hospitals TO lethe_api;
CREATE POLICY hospitals_public ON stats.hospitals FOR SELECT TO lethe_api USING (true);
