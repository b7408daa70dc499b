-- The compliance desk: suspensions, openings of a person's data by staff, deliveries of alerts. Alerts themselves, breaches,
-- extensions and drills are streams of the log, whose newest events say all. Adds an index to log.events, under a lock that
-- stops writes until it is built.

-- By which the desk and the alert rules find a span of time: events are added in the order of that time, mostly.
CREATE INDEX events_recorded_at ON log.events USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);

-- Until when an account can't act, of which the log shows a suspicious pattern.
CREATE TABLE auth.suspensions (
    subject_id uuid        PRIMARY KEY REFERENCES vault.subjects ON DELETE CASCADE,
    until      timestamptz NOT NULL
);

-- That a member of staff may read one person's data for a quarter of an hour, for a reason that stands in that person's log.
CREATE TABLE auth.openings (
    subject_id uuid        NOT NULL REFERENCES vault.subjects ON DELETE CASCADE,
    opening_id uuid        NOT NULL UNIQUE,
    staff_id   uuid        NOT NULL,
    session_id uuid        NOT NULL,
    expires_at timestamptz NOT NULL,
    mac        bytea       NOT NULL,
    PRIMARY KEY (subject_id, opening_id)
);

-- One row an alert and endpoint. What is sent is made of the event.
CREATE TABLE jobs.deliveries (
    endpoint   text        NOT NULL,
    event_id   uuid        NOT NULL,
    state      text        NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts   int         NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL,
    failure    text,
    created_at timestamptz NOT NULL,
    ended_at   timestamptz,
    PRIMARY KEY (endpoint, event_id)
);
CREATE INDEX deliveries_due ON jobs.deliveries (next_at) WHERE state = 'waiting';
