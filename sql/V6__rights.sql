-- The rights of the data subject: jobs, requests to delete and to export, retention, switches, and the fence around who was
-- erased. Locks read.accounts and read.consents for the moment in which they get a column.

-- Work that a server leases, does, and marks as done; another server takes over when a lease runs out.
CREATE SCHEMA jobs;

CREATE TABLE jobs.jobs (
    subject_id  uuid        NOT NULL,
    job_id      uuid        NOT NULL,
    kind        text        NOT NULL,
    request_id  uuid        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    due_at      timestamptz NOT NULL,
    attempts    int         NOT NULL DEFAULT 0,
    lease       uuid,
    lease_until timestamptz,
    failure     text,
    created_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    PRIMARY KEY (subject_id, job_id)
);
CREATE INDEX jobs_due ON jobs.jobs (due_at) WHERE state IN ('waiting', 'running');

-- The fence: for whom no key may ever be made again.
CREATE TABLE vault.erased (
    subject_id uuid        PRIMARY KEY,
    erased_at  timestamptz NOT NULL
);

-- Set while a restore is unfinished: nothing is served from such a database.
CREATE TABLE lethe.restoring (
    only_row boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    begun_at timestamptz NOT NULL
);

-- Requests to delete. Filters and reason are sealed under the trail key; of the token there is a keyed hash.
CREATE TABLE read.deletions (
    subject_id    uuid        NOT NULL,
    deletion_id   uuid        NOT NULL,
    sequence      bigint      NOT NULL,
    scope         text        NOT NULL CHECK (scope IN ('full', 'partial', 'sessions_only')),
    state         text        NOT NULL CHECK (state IN ('pending', 'confirmed', 'completed', 'cancelled', 'replaced')),
    token_hash    bytea       NOT NULL,
    sealed        text        NOT NULL,
    requested_at  timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    grace_ends_at timestamptz,
    ended_at      timestamptz,
    removed       bigint,
    PRIMARY KEY (subject_id, deletion_id)
);

-- Requests to export. The file is sealed under `file_key`, which is wrapped by the person's trail key.
CREATE TABLE read.exports (
    subject_id   uuid        NOT NULL,
    export_id    uuid        NOT NULL,
    sequence     bigint      NOT NULL,
    scope        text        NOT NULL CHECK (scope IN ('full', 'partial', 'sessions_only')),
    format       text        NOT NULL CHECK (format IN ('json', 'csv')),
    state        text        NOT NULL CHECK (state IN ('pending', 'processing', 'completed', 'failed', 'expired', 'cancelled')),
    sealed       text        NOT NULL,
    requested_at timestamptz NOT NULL,
    ended_at     timestamptz,
    expires_at   timestamptz,
    failure      text,
    done         bigint      NOT NULL DEFAULT 0,
    total        bigint      NOT NULL DEFAULT 0,
    size         bigint,
    file_key     text,
    etag         text,
    PRIMARY KEY (subject_id, export_id)
);
CREATE INDEX exports_expiry ON read.exports (expires_at) WHERE state = 'completed';

-- How long a person wants a kind of record kept, where it is not the kind's own rule.
CREATE TABLE read.retention (
    subject_id uuid        NOT NULL,
    kind       text        NOT NULL,
    days       int         NOT NULL CHECK (days BETWEEN 1 AND 36500),
    sequence   bigint      NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (subject_id, kind)
);
-- By which the daily work finds what has outlived its time: records are added in the order of that time, mostly.
CREATE INDEX records_age ON read.records USING brin (recorded_at);

-- Switches of an account that commands obey: restriction (GDPR Art. 18), the end of a deletion's grace, a legal hold.
ALTER TABLE read.accounts
    ADD COLUMN restricted_at timestamptz,
    ADD COLUMN deletion_at   timestamptz,
    ADD COLUMN held_until    timestamptz,
    ADD COLUMN hold_sealed   text;

-- An objection (GDPR Art. 21) stands beside the decision on the same purpose.
ALTER TABLE read.consents ADD COLUMN objected boolean NOT NULL DEFAULT false;
