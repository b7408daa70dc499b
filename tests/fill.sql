-- Fills a migrated database with one busy person and a town of people with few records, for plans and for benches. Nobody can
-- open the rows: what is measured is their number. The settings fill.records, fill.versions, fill.people and fill.each (records of
-- everybody else) say how many; the busy person's id is 0000…beef, and there is none if fill.records is 0. To fill in steps, set
-- fill.first to the number of people of the steps before, and fill.at to the time of a step's events. ANALYZE afterwards.
CREATE TEMP TABLE person AS
    SELECT lpad(to_hex(n), 32, '0')::uuid AS subject_id,
           CASE WHEN n = 48879 THEN current_setting('fill.records')::int ELSE current_setting('fill.each')::int END AS records,
           CASE WHEN n = 48879 THEN current_setting('fill.versions')::int ELSE 2 END AS versions,
           coalesce(nullif(current_setting('fill.at', true), '')::timestamptz, now()) AS at
    FROM (SELECT 48879 AS n WHERE current_setting('fill.records')::int > 0
          UNION ALL
          SELECT 1000000 + coalesce(nullif(current_setting('fill.first', true), '')::int, 0)
                 + generate_series(1, current_setting('fill.people')::int)) AS everybody;
INSERT INTO vault.subjects SELECT subject_id, 1, 1, '\x00', '\x00', '\x00' FROM person;
INSERT INTO vault.records (subject_id, record_id, kind, key_hash, bucket, wrapped_key)
    SELECT subject_id, gen_random_uuid(), CASE WHEN n = 1 THEN 'work_profile' ELSE 'work_day' END,
           sha256(convert_to(n::text, 'UTF8')), sha256(convert_to((n / 90)::text, 'UTF8')), decode(repeat('00', 60), 'hex')
    FROM person, generate_series(1, records) AS n;
INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                        subject_id, kind, recorded_at)
    SELECT 'account', subject_id::text, 1, 'account.registered', '1.0', '{}', '{"role":"anonymous","request":"r"}',
           gen_random_uuid(), subject_id, 'account', at FROM person;
INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                        subject_id, kind, recorded_at)
    SELECT 'record', record_id::text, n, CASE WHEN n = 1 THEN 'record.submitted' ELSE 'record.amended' END, '1.0',
           json_build_object('sealed', repeat('q', 200)), '{"role":"subject","request":"r"}', gen_random_uuid(), subject_id, kind, at
    FROM vault.records JOIN person USING (subject_id), generate_series(1, versions) AS n;
INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                        subject_id, kind, recorded_at)
    SELECT 'access', gen_random_uuid()::text, 1, 'data.accessed', '1.0', '{}', '{"role":"subject","request":"r"}', gen_random_uuid(),
           subject_id, 'access', at
    FROM person, generate_series(1, records * 3 / 4) AS n;
INSERT INTO read.records (subject_id, record_id, kind, sequence, event_type, event_version, payload, submitted_at, recorded_at)
    SELECT e.subject_id, e.aggregate_id::uuid, e.kind, e.sequence, e.event_type, e.event_version, e.payload, e.recorded_at, e.recorded_at
    FROM log.events e JOIN person USING (subject_id) WHERE e.aggregate_type = 'record' AND e.sequence = versions;
INSERT INTO read.accounts (subject_id, sequence, registered_at) SELECT subject_id, 1, at FROM person;
INSERT INTO read.consents (subject_id, purpose, granted, notice_version, notice_hash, sequence, changed_at)
    SELECT subject_id, 'statistics', true, '2', '', 1, at FROM person;
INSERT INTO read.deletions (subject_id, deletion_id, sequence, scope, state, token_hash, sealed, requested_at, expires_at)
    SELECT subject_id, gen_random_uuid(), 1, 'full', 'confirmed', '\x00', '', at, at FROM person;
DROP TABLE person;
