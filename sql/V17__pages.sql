-- Lists are read page by page, each page behind the last row of the one before: jobs and deliveries in the order of time; alerts and
-- breaches, whose streams are about nobody in particular, by the newest event of each stream. Adds an index to each of three
-- tables, under a lock that stops writes until it is built; the one of log.events holds no event about a person.
CREATE INDEX jobs_newest ON jobs.jobs (created_at, job_id);
CREATE INDEX deliveries_newest ON jobs.deliveries (created_at, event_id, endpoint);
CREATE INDEX events_newest ON log.events (aggregate_type, recorded_at, event_id)
    WHERE subject_id = '00000000-0000-0000-0000-000000000000';

-- The API publishes these two as closed lists. Scans both tables under a lock.
ALTER TABLE read.activity ADD CONSTRAINT activity_role
    CHECK (role IN ('subject', 'compliance', 'auditor', 'anonymous', 'job', 'statistics', 'system'));
ALTER TABLE read.exports ADD CONSTRAINT exports_failure
    CHECK (failure IN ('store_unavailable', 'data_damaged', 'gave_up'));
