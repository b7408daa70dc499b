-- Sign-in that strangers can't stand in the way of: devices that signed in before, a code for each who asks, and a refresh token
-- whose answer got lost. Makes a table, and changes auth.codes and auth.refresh_tokens under a lock that stops sign-ins for a moment;
-- it rewrites neither.

-- A client on which a person signed in: a keyed hash of the secret that it keeps. What it tries is counted apart from what anybody
-- else tries on the same address.
CREATE TABLE auth.devices (
    subject_id  uuid        NOT NULL REFERENCES vault.subjects ON DELETE CASCADE,
    device_hash bytea       NOT NULL,
    known_at    timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    mac         bytea       NOT NULL,
    PRIMARY KEY (subject_id, device_hash)
);
CREATE INDEX devices_expiry ON auth.devices (expires_at);

-- Several codes an address, one for each client that asks: a stranger's request replaces nobody else's code. `asker_hash` is a keyed
-- hash of the device or the client. `is_long`: the code may be tried however many
-- wrong ones came before. `attempts` is no longer written: tries are counted in auth.limits, for each client apart.
ALTER TABLE auth.codes
    ADD COLUMN asker_hash bytea NOT NULL DEFAULT '',
    ADD COLUMN is_long    boolean NOT NULL DEFAULT false;
ALTER TABLE auth.codes DROP CONSTRAINT codes_pkey;
ALTER TABLE auth.codes ADD PRIMARY KEY (address_hash, asker_hash);

-- By whom a refresh token was used: a keyed hash of the device or the client, under a key of the ring that lives three days at most.
-- The same client is given the same successor again for some seconds; the successor itself is stored nowhere.
ALTER TABLE auth.refresh_tokens
    ADD COLUMN used_key bigint,
    ADD COLUMN used_by  bytea;
