-- Published statistics, and the ledger of what they cost. Nothing here is about one person: noisy numbers, and what was spent.
-- Locks nothing that exists.
CREATE SCHEMA stats;

-- The public list of hospitals that the table by hospital has cells for, whether anybody works there or not.
CREATE TABLE stats.hospitals (
    hospital_id text        PRIMARY KEY,
    added_at    timestamptz NOT NULL
);

-- One row a release: a quarter's first, or its scheduled revision.
CREATE TABLE stats.releases (
    period_start date        NOT NULL,
    revision     int         NOT NULL CHECK (revision >= 0),
    period_end   date        NOT NULL,
    plan         text        NOT NULL,
    computed_at  timestamptz NOT NULL,
    sha256       text        NOT NULL,
    PRIMARY KEY (period_start, revision)
);

-- What a release spent on each person in a table: ε in millionths, δ in parts of 10^12.
CREATE TABLE stats.spending (
    period_start     date   NOT NULL,
    revision         int    NOT NULL,
    table_name       text   NOT NULL,
    epsilon_users    int    NOT NULL CHECK (epsilon_users > 0),
    epsilon_overtime int    NOT NULL CHECK (epsilon_overtime > 0),
    epsilon_planned  int    NOT NULL CHECK (epsilon_planned > 0),
    delta            bigint NOT NULL CHECK (delta > 0),
    k_min            int    NOT NULL,
    threshold        bigint NOT NULL,
    PRIMARY KEY (period_start, revision, table_name),
    FOREIGN KEY (period_start, revision) REFERENCES stats.releases
);

-- What was drawn for each cell, published or not. Noisy: a cell that is not published is protected by the noise alone.
CREATE TABLE stats.ledger (
    period_start   date    NOT NULL,
    revision       int     NOT NULL,
    table_name     text    NOT NULL,
    cell           text    NOT NULL,
    noisy_users    bigint  NOT NULL,
    noisy_overtime bigint  NOT NULL,
    noisy_planned  bigint  NOT NULL,
    published      boolean NOT NULL,
    PRIMARY KEY (period_start, revision, table_name, cell),
    FOREIGN KEY (period_start, revision, table_name) REFERENCES stats.spending
);

-- The published tables, with the columns that requirements 144 to 157 name; beside each figure its 95 % interval for the noise.
-- `revision` keeps both of a quarter that was revised; readers take the newest.
CREATE TABLE stats.stats_by_state_specialty (
    stat_id                    uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    country_code               varchar(3)    NOT NULL,
    state_code                 varchar(10)   NOT NULL,
    specialty                  varchar(100)  NOT NULL,
    role_level                 varchar(50)   NOT NULL,
    period_start               date          NOT NULL,
    period_end                 date          NOT NULL,
    revision                   int           NOT NULL,
    n_users                    int           NOT NULL,
    n_users_low                int           NOT NULL,
    n_users_high               int           NOT NULL,
    avg_planned_hours_noised   numeric(5, 2) NOT NULL,
    avg_planned_hours_low      numeric(5, 2) NOT NULL,
    avg_planned_hours_high     numeric(5, 2) NOT NULL,
    avg_actual_hours_noised    numeric(5, 2) NOT NULL,
    avg_actual_hours_low       numeric(5, 2) NOT NULL,
    avg_actual_hours_high      numeric(5, 2) NOT NULL,
    avg_overtime_hours_noised  numeric(5, 2) NOT NULL,
    avg_overtime_hours_low     numeric(5, 2) NOT NULL,
    avg_overtime_hours_high    numeric(5, 2) NOT NULL,
    k_min_threshold            int           NOT NULL,
    noise_epsilon              numeric(4, 2) NOT NULL,
    computed_at                timestamptz   NOT NULL,
    UNIQUE (country_code, state_code, specialty, role_level, period_start, revision),
    FOREIGN KEY (period_start, revision) REFERENCES stats.releases
);
CREATE INDEX idx_stats_state_spec_period ON stats.stats_by_state_specialty (state_code, specialty, period_start);

CREATE TABLE stats.stats_by_hospital_role (
    stat_id                    uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    hospital_id                varchar(255)  NOT NULL,
    role_group                 varchar(50)   NOT NULL,
    period_start               date          NOT NULL,
    period_end                 date          NOT NULL,
    revision                   int           NOT NULL,
    n_users                    int           NOT NULL,
    n_users_low                int           NOT NULL,
    n_users_high               int           NOT NULL,
    avg_planned_hours_noised   numeric(5, 2) NOT NULL,
    avg_planned_hours_low      numeric(5, 2) NOT NULL,
    avg_planned_hours_high     numeric(5, 2) NOT NULL,
    avg_actual_hours_noised    numeric(5, 2) NOT NULL,
    avg_actual_hours_low       numeric(5, 2) NOT NULL,
    avg_actual_hours_high      numeric(5, 2) NOT NULL,
    avg_overtime_hours_noised  numeric(5, 2) NOT NULL,
    avg_overtime_hours_low     numeric(5, 2) NOT NULL,
    avg_overtime_hours_high    numeric(5, 2) NOT NULL,
    k_min_threshold            int           NOT NULL,
    noise_epsilon              numeric(4, 2) NOT NULL,
    computed_at                timestamptz   NOT NULL,
    UNIQUE (hospital_id, role_group, period_start, revision),
    FOREIGN KEY (period_start, revision) REFERENCES stats.releases
);
CREATE INDEX idx_stats_hospital_period ON stats.stats_by_hospital_role (hospital_id, period_start);

-- Coarser: drawn by the small plan; by the full plan added up from what was drawn for the specialties.
CREATE TABLE stats.stats_by_state_role (
    stat_id                    uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    country_code               varchar(3)    NOT NULL,
    state_code                 varchar(10)   NOT NULL,
    role_level                 varchar(50)   NOT NULL,
    period_start               date          NOT NULL,
    period_end                 date          NOT NULL,
    revision                   int           NOT NULL,
    n_users                    int           NOT NULL,
    n_users_low                int           NOT NULL,
    n_users_high               int           NOT NULL,
    avg_planned_hours_noised   numeric(5, 2) NOT NULL,
    avg_planned_hours_low      numeric(5, 2) NOT NULL,
    avg_planned_hours_high     numeric(5, 2) NOT NULL,
    avg_actual_hours_noised    numeric(5, 2) NOT NULL,
    avg_actual_hours_low       numeric(5, 2) NOT NULL,
    avg_actual_hours_high      numeric(5, 2) NOT NULL,
    avg_overtime_hours_noised  numeric(5, 2) NOT NULL,
    avg_overtime_hours_low     numeric(5, 2) NOT NULL,
    avg_overtime_hours_high    numeric(5, 2) NOT NULL,
    k_min_threshold            int           NOT NULL,
    noise_epsilon              numeric(4, 2) NOT NULL,
    computed_at                timestamptz   NOT NULL,
    UNIQUE (country_code, state_code, role_level, period_start, revision),
    FOREIGN KEY (period_start, revision) REFERENCES stats.releases
);

-- What was published stays, for everyone, the owner included; ENABLE ALWAYS holds in replication mode too.
CREATE FUNCTION stats.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'what was released is never changed: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

-- The budget of a quarter, 1.0 and 10^-6 on each person, whatever a policy says and however many servers release.
CREATE FUNCTION stats.check_budget() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE spent record;
BEGIN
    PERFORM pg_advisory_xact_lock(7310868735421);
    SELECT sum(epsilon_users + epsilon_overtime + epsilon_planned) AS epsilon, sum(delta) AS delta INTO spent
    FROM stats.spending WHERE period_start = NEW.period_start;
    IF spent.epsilon > 1000000 OR spent.delta > 1000000 THEN
        RAISE EXCEPTION 'the budget of the quarter from % is spent', NEW.period_start USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

REVOKE EXECUTE ON FUNCTION stats.refuse_change(), stats.check_budget() FROM PUBLIC;
CREATE TRIGGER spending_within_budget AFTER INSERT ON stats.spending FOR EACH ROW EXECUTE FUNCTION stats.check_budget();
ALTER TABLE stats.spending ENABLE ALWAYS TRIGGER spending_within_budget;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['releases', 'spending', 'ledger', 'stats_by_state_specialty', 'stats_by_hospital_role',
                                'stats_by_state_role'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON stats.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION stats.refuse_change()', name || '_append_only', name);
        EXECUTE format('ALTER TABLE stats.%I ENABLE ALWAYS TRIGGER %I', name, name || '_append_only');
    END LOOP;
END $$;
