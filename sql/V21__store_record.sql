-- A new record is stored by one statement, which is a transaction of its own. Adds functions, and replaces one in place; locks no
-- table. Servers of version 20 store nothing from here on.

-- Stores the first version of a record of a person: its entry in the register, its row in the read model, its event, and the answer
-- to the request if that has an idempotency key; all under one ticket. It does so only if everything is as it was taken to be: the
-- person's locks are free, the standing has this version, the session is alive, no answer is stored under this hash, and the record is
-- not there. Returns whether it is stored. Where a ticket is not accepted, the person has no standing. It waits for a key that
-- another transaction is about to store, but not long, because others wait for the end of this one.
CREATE FUNCTION lethe.store_record(
    ticket text, lock bigint, claim bigint, subject uuid, version bigint, session uuid,
    kind text, key_hash bytea, record uuid, bucket bytea, wrapped_key bytea,
    event uuid, event_version text, payload text, metadata text, at timestamptz, listed_at timestamptz,
    answer bytea, ring_key bigint, fingerprint bytea, sealed text, expires_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
#variable_conflict use_variable
BEGIN
    PERFORM lethe.show(ticket, true);
    IF (pg_try_advisory_xact_lock_shared(lock) AND (claim IS NULL OR pg_try_advisory_xact_lock(claim))) IS NOT TRUE THEN
        RETURN false;
    END IF;
    -- Each statement sees what was committed before it begins, so that what holds here holds until the locks are free:
    -- whoever changes it for the worse holds the person's lock alone.
    IF ((SELECT s.version FROM auth.standings s WHERE s.subject_id = subject) = version
        AND (session IS NULL OR (SELECT true FROM auth.sessions s
                                 WHERE s.subject_id = subject AND s.session_id = session AND s.ended_at IS NULL))
        AND (SELECT true FROM read.answers a WHERE a.subject_id = subject AND a.key_hash = answer) IS NULL
        AND (SELECT true FROM vault.records r
             WHERE r.subject_id = subject AND r.kind = kind AND r.key_hash = key_hash) IS NULL) IS NOT TRUE THEN
        RETURN false;
    END IF;
    INSERT INTO vault.records (subject_id, record_id, kind, key_hash, bucket, wrapped_key)
    VALUES (subject, record, kind, key_hash, bucket, wrapped_key);
    INSERT INTO read.records (subject_id, record_id, kind, sequence, event_type, event_version, payload, submitted_at,
                              recorded_at, listed_at)
    VALUES (subject, record, kind, 1, 'record.submitted', event_version, payload::json, at, at, listed_at);
    INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                            subject_id, kind, recorded_at)
    VALUES ('record', record::text, 1, 'record.submitted', event_version, payload::json, metadata::json, event, subject, kind, at);
    IF answer IS NOT NULL THEN
        INSERT INTO read.answers (subject_id, key_hash, ring_key, fingerprint, sealed, expires_at)
        VALUES (subject, answer, ring_key, fingerprint, sealed, expires_at);
    END IF;
    RETURN true;
END $$;

-- The same for a record of each of several persons, who are named by one ticket. Returns those whose record is stored.
CREATE FUNCTION lethe.store_records(
    ticket text, locks bigint[], claims bigint[], subjects uuid[], versions bigint[], sessions uuid[],
    kinds text[], key_hashes bytea[], records uuid[], buckets bytea[], wrapped_keys bytea[],
    events uuid[], event_versions text[], payloads text[], metadatas text[], times timestamptz[], listed timestamptz[],
    answers bytea[], ring_keys bigint[], fingerprints bytea[], sealed_answers text[], expiries timestamptz[]
) RETURNS uuid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE stay uuid[];
BEGIN
    PERFORM lethe.show(ticket, true);
    stay := ARRAY(SELECT subject FROM unnest(subjects, locks, claims) AS asked (subject, lock, claim)
                  WHERE pg_try_advisory_xact_lock_shared(lock) AND (claim IS NULL OR pg_try_advisory_xact_lock(claim)));
    stay := ARRAY(
        SELECT subject FROM unnest(subjects, versions, sessions, answers, kinds, key_hashes)
                            AS asked (subject, version, session, answer, kind, key_hash)
        WHERE subject = ANY (stay)
          AND (SELECT s.version FROM auth.standings s WHERE s.subject_id = asked.subject) = asked.version
          AND (session IS NULL OR (SELECT true FROM auth.sessions s
                                   WHERE s.subject_id = asked.subject AND s.session_id = session AND s.ended_at IS NULL))
          AND (SELECT true FROM read.answers a WHERE a.subject_id = asked.subject AND a.key_hash = answer) IS NULL
          AND (SELECT true FROM vault.records r
               WHERE r.subject_id = asked.subject AND r.kind = asked.kind AND r.key_hash = asked.key_hash) IS NULL);
    INSERT INTO vault.records (subject_id, record_id, kind, key_hash, bucket, wrapped_key)
    SELECT subject, record, kind, key_hash, bucket, wrapped_key
    FROM unnest(subjects, records, kinds, key_hashes, buckets, wrapped_keys)
         AS new (subject, record, kind, key_hash, bucket, wrapped_key)
    WHERE subject = ANY (stay);
    INSERT INTO read.records (subject_id, record_id, kind, sequence, event_type, event_version, payload, submitted_at,
                              recorded_at, listed_at)
    SELECT subject, record, kind, 1, 'record.submitted', event_version, payload::json, at, at, listed_at
    FROM unnest(subjects, records, kinds, event_versions, payloads, times, listed)
         AS new (subject, record, kind, event_version, payload, at, listed_at)
    WHERE subject = ANY (stay);
    INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                            subject_id, kind, recorded_at)
    SELECT 'record', record::text, 1, 'record.submitted', event_version, payload::json, metadata::json, event, subject, kind, at
    FROM unnest(subjects, records, kinds, events, event_versions, payloads, metadatas, times)
         AS new (subject, record, kind, event, event_version, payload, metadata, at)
    WHERE subject = ANY (stay);
    INSERT INTO read.answers (subject_id, key_hash, ring_key, fingerprint, sealed, expires_at)
    SELECT subject, answer, ring_key, fingerprint, sealed, expires_at
    FROM unnest(subjects, answers, ring_keys, fingerprints, sealed_answers, expiries)
         AS new (subject, answer, ring_key, fingerprint, sealed, expires_at)
    WHERE subject = ANY (stay) AND answer IS NOT NULL;
    RETURN stay;
END $$;

REVOKE EXECUTE ON FUNCTION
    lethe.store_record(text, bigint, bigint, uuid, bigint, uuid, text, bytea, uuid, bytea, bytea, uuid, text, text, text,
                       timestamptz, timestamptz, bytea, bigint, bytea, text, timestamptz),
    lethe.store_records(text, bigint[], bigint[], uuid[], bigint[], uuid[], text[], bytea[], uuid[], bytea[], bytea[], uuid[],
                        text[], text[], text[], timestamptz[], timestamptz[], bytea[], bigint[], bytea[], text[], timestamptz[])
    FROM PUBLIC;

-- Leaves out of the transaction all persons of its ticket but these; returns who stays. A ticket can only lose persons so. Nobody
-- asks any more who was left out.
CREATE OR REPLACE FUNCTION lethe.keep(kept uuid[]) RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part   text[] := string_to_array(current_setting('backtrace_functions'), ' ');
    named  uuid[] := lethe.subject_ids();
    stay   uuid[] := ARRAY(SELECT id FROM unnest(named) AS id WHERE id = ANY (kept));
BEGIN
    IF cardinality(stay) < cardinality(named) THEN
        PERFORM set_config('backtrace_functions', concat_ws(' ', part[1], part[2], part[3], part[4], part[5],
                           replace(array_to_string(stay, ','), '-', '')), true);
    END IF;
    RETURN stay;
END $$;
DROP FUNCTION lethe.left_out();
