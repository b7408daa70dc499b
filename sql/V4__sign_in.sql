-- Sign-in: who stands behind an address, a session or a refresh token; found by keyed hashes only. Locks nothing that exists.
-- `mac` is an HMAC of the ring over the row's immutable columns: a row that was moved to another person is refused.
CREATE SCHEMA auth;

CREATE TABLE auth.users (
    subject_id uuid PRIMARY KEY REFERENCES vault.subjects ON DELETE CASCADE,
    user_id    uuid NOT NULL UNIQUE,
    mac        bytea NOT NULL
);

CREATE TABLE auth.addresses (
    subject_id     uuid  NOT NULL REFERENCES vault.subjects ON DELETE CASCADE,
    address_hash   bytea NOT NULL UNIQUE,
    pepper_version int   NOT NULL,
    mac            bytea NOT NULL,
    PRIMARY KEY (subject_id, address_hash)
);

CREATE TABLE auth.staff_roles (
    subject_id uuid  NOT NULL REFERENCES vault.subjects ON DELETE CASCADE,
    role       text  NOT NULL CHECK (role IN ('compliance', 'auditor')),
    mac        bytea NOT NULL,
    PRIMARY KEY (subject_id, role)
);

CREATE TABLE auth.sessions (
    subject_id uuid        NOT NULL REFERENCES vault.subjects ON DELETE CASCADE,
    session_id uuid        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('subject', 'compliance', 'auditor')),
    started_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz,
    mac        bytea       NOT NULL,
    PRIMARY KEY (subject_id, session_id)
);

CREATE INDEX sessions_expiry ON auth.sessions (expires_at);

-- Every refresh token of a session's family; a second use of one ends the session.
CREATE TABLE auth.refresh_tokens (
    subject_id uuid        NOT NULL,
    token_hash bytea       NOT NULL UNIQUE,
    session_id uuid        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('subject', 'compliance', 'auditor')),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    mac        bytea       NOT NULL,
    PRIMARY KEY (subject_id, token_hash),
    FOREIGN KEY (subject_id, session_id) REFERENCES auth.sessions ON DELETE CASCADE
);

-- The newest code mailed to an address, known or not. The code itself is kept as a keyed hash.
CREATE TABLE auth.codes (
    address_hash bytea PRIMARY KEY,
    ring_key     bigint      NOT NULL,
    code_hash    bytea       NOT NULL,
    attempts     int         NOT NULL DEFAULT 0,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz
);

-- Counters of requests per address and per client, by keyed hash and window.
CREATE TABLE auth.limits (
    limit_hash bytea       NOT NULL,
    window_end timestamptz NOT NULL,
    used       int         NOT NULL,
    PRIMARY KEY (limit_hash)
);

-- Letters that wait to be handed over, sealed with a short-lived key of the ring.
CREATE TABLE auth.letters (
    letter_id  uuid        PRIMARY KEY,
    ring_key   bigint      NOT NULL,
    sealed     bytea       NOT NULL,
    attempts   int         NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX letters_due ON auth.letters (next_at);
