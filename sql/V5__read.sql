-- Read models and stored answers. Locks nothing that exists.
CREATE SCHEMA read;

-- The sealed newest event of each living record; one table serves all kinds.
CREATE TABLE read.records (
    subject_id    uuid        NOT NULL,
    record_id     uuid        NOT NULL,
    kind          text        NOT NULL,
    sequence      bigint      NOT NULL,
    event_type    text        NOT NULL,
    event_version text        NOT NULL,
    payload       json        NOT NULL,
    submitted_at  timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL,
    PRIMARY KEY (subject_id, record_id),
    FOREIGN KEY (subject_id, record_id) REFERENCES vault.records ON DELETE CASCADE
);

-- The state of each purpose a person has decided on. Evidence, in clear beside the random id.
CREATE TABLE read.consents (
    subject_id     uuid        NOT NULL,
    purpose        text        NOT NULL,
    granted        boolean     NOT NULL,
    notice_version text        NOT NULL,
    notice_hash    text        NOT NULL,
    sequence       bigint      NOT NULL,
    changed_at     timestamptz NOT NULL,
    PRIMARY KEY (subject_id, purpose)
);

CREATE TABLE read.accounts (
    subject_id    uuid        PRIMARY KEY,
    sequence      bigint      NOT NULL,
    registered_at timestamptz NOT NULL
);

-- The log as its reader sees it, with the columns that requirements 262 to 264 name. Address, agent and details stay
-- sealed in `metadata`. It reads with the rights of whoever asks, so it can't fall out of step or show too much.
CREATE VIEW read.audit_log WITH (security_invoker = true, security_barrier = true) AS
SELECT event_id       AS id,
       subject_id,
       event_type     AS action,
       aggregate_type AS table_name,
       aggregate_id   AS record_id,
       recorded_at    AS "timestamp",
       kind,
       sequence,
       event_version,
       metadata,
       payload        AS details,
       position
FROM log.events;

-- Answers to requests with an Idempotency-Key, sealed under the person's trail key, for 24 hours.
CREATE TABLE read.answers (
    subject_id  uuid        NOT NULL REFERENCES vault.subjects ON DELETE CASCADE,
    key_hash    bytea       NOT NULL,
    ring_key    bigint      NOT NULL,
    fingerprint bytea       NOT NULL,
    sealed      text        NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (subject_id, key_hash)
);
-- Answers run out in the order in which they came: a block range index costs the insert next to nothing.
CREATE INDEX answers_expiry ON read.answers USING brin (expires_at);
