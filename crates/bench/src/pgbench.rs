//! pgbench beside the server, prepared, one statement at a time, as `lethe_api` under a valid ticket.
//!
//! P writes the rows of one submitted day: the event, the register's row, the read model's row and the stored answer, in one
//! transaction.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use db::{Address, Login};
use lethe::data::home::Database;

use crate::{load::Rate, outcome::BenchResult, stage::Stage};

/// The rows are as long as the server's: sealed payload and metadata of a work day.
const SCRIPT: &str = r#"\if :minted = 0
SELECT bench.mint(bench.subject(:client_id)) AS ticket, bench.subject(:client_id) AS subject \gset
\set minted 1
\endif
\set n random(1, 9000000000000000000)
BEGIN;
SELECT lethe.show(:ticket, true);
INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id, subject_id, kind, recorded_at) VALUES ('record', bench.record(:n)::text, 1, 'record.submitted', '1.0', ('{"sealed":"' || repeat('x', 211) || '"}')::json, ('{"request":"' || bench.record(:n) || '","role":"subject","session":"' || bench.record(:n) || '","trail":"' || repeat('x', 208) || '"}')::json, gen_random_uuid(), :subject, 'work_day', now());
INSERT INTO vault.records (subject_id, record_id, kind, key_hash, bucket, wrapped_key) VALUES (:subject, bench.record(:n), 'work_day', sha256(uuid_send(bench.record(:n))), repeat('b', 32)::bytea, repeat('k', 61)::bytea);
INSERT INTO read.records (subject_id, record_id, kind, sequence, event_type, event_version, payload, submitted_at, recorded_at) VALUES (:subject, bench.record(:n), 'work_day', 1, 'record.submitted', '1.0', ('{"sealed":"' || repeat('x', 211) || '"}')::json, now(), now());
INSERT INTO read.answers (subject_id, key_hash, ring_key, fingerprint, sealed, expires_at) VALUES (:subject, sha256(uuid_send(bench.record(:n))), 1, repeat('f', 32)::bytea, repeat('x', 376), now() + interval '1 day');
COMMIT;
"#;

/// What scripts need: names of people and records, a function that mints a ticket for the session that asks, and one that
/// finds persons with a full bucket.
const HELPERS: &str = "
CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO lethe_api;
CREATE FUNCTION bench.subject(client int) RETURNS uuid LANGUAGE sql AS
$$ SELECT ('bebebebe-0000-4000-8000-' || lpad(client::text, 12, '0'))::uuid $$;
CREATE FUNCTION bench.record(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$;
CREATE FUNCTION bench.mint(subject uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    claim text := 'v3|' || subject || '||subject|' || (extract(epoch FROM now())::bigint + 86400) || '|'
                  || (lethe.begin_session()).number;
BEGIN
    RETURN (SELECT claim || '|' || encode(sha256(outer_pad || sha256(inner_pad || convert_to(claim, 'UTF8'))), 'hex') FROM lethe.pads);
END $$;
CREATE FUNCTION bench.filled(fewest bigint, client int, OUT subject uuid, OUT bucket bytea) LANGUAGE sql SECURITY DEFINER AS $$
    SELECT subject_id, bucket FROM vault.records WHERE kind = 'work_day' GROUP BY 1, 2 HAVING count(*) >= fewest
    ORDER BY 1, 2 OFFSET client LIMIT 1
$$;";

/// People of P's own.
const PEOPLE: &str =
    "INSERT INTO vault.subjects SELECT bench.subject(n), 1, 1, '', '', '' FROM generate_series(0, 255) n";

/// The variant in which policies trust a plain variable.
const PLAIN: &str = "CREATE OR REPLACE FUNCTION lethe.show(shown text, in_transaction boolean) RETURNS void
LANGUAGE sql AS $$ SELECT set_config('app.current_user_id', split_part(shown, '|', 2), in_transaction) $$;
CREATE OR REPLACE FUNCTION lethe.subject_ids() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$ SELECT pg_catalog.string_to_array(pg_catalog.current_setting('app.current_user_id', true), ',')::uuid[] $$;";

/// A database in which P trusts tickets, and one in which it trusts a plain variable.
pub const TICKET: &str = "p_ticket";
pub const VARIABLE: &str = "p_variable";

/// A script, and the databases that it runs in.
pub struct Pgbench<'s> {
    stage: &'s Stage,
}

impl<'s> Pgbench<'s> {
    /// Makes the two databases of P.
    pub async fn prepare(stage: &'s Stage) -> BenchResult<Self> {
        let Database { address, admin } = &stage.database;
        let client = db::admin(&Address { database: "postgres".to_owned(), ..address.clone() }, admin, None).await?;
        for (name, more) in [(TICKET, ""), (VARIABLE, PLAIN)] {
            client.batch_execute(&format!("CREATE DATABASE {name}")).await?;
            let copy = Address { database: name.to_owned(), ..address.clone() };
            let mut migrated = db::admin(&copy, admin, None).await?;
            db::migrate(&mut migrated).await?;
            let ring = lethe::data::home::Folder::open(stage.scratch())?.ring(None)?;
            db::install_pads(&migrated, &ring.ticket_key()).await?;
            for sql in [HELPERS, PEOPLE, more] {
                migrated.batch_execute(sql).await?;
            }
        }
        fs::write(stage.scratch().join("p.sql"), SCRIPT)?;
        Ok(Self { stage })
    }

    /// Runs a script of the bench in the server's own database.
    pub async fn beside(stage: &'s Stage, script: &str) -> BenchResult<Self> {
        db::admin(&stage.database.address, &stage.database.admin, None).await?.batch_execute(HELPERS).await?;
        fs::write(stage.scratch().join("p.sql"), script)?;
        Ok(Self { stage })
    }

    /// Runs the script for `length`.
    pub fn measure(&self, database: &str, clients: usize, length: Duration) -> BenchResult<Rate> {
        let folder = self.stage.scratch();
        let address = &self.stage.database.address;
        let output = Command::new(self.stage.bin_dir.join("pgbench"))
            .current_dir(folder)
            .args(["-n", "-M", "prepared", "-f", "p.sql", "-D", "minted=0", "-l", "--log-prefix", "p_log", "-j", "2"])
            .args(["-c", &clients.to_string(), "-T", &length.as_secs().to_string()])
            .args(["-h", &address.host, "-p", &address.port.to_string(), "-U", Login::Api.as_str(), database])
            .env("PGPASSWORD", &self.stage.passwords[Login::Api.as_str()])
            .stderr(Stdio::piped())
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(Rate::of(latencies_ms(folder)?, length))
    }
}

/// Reads and removes pgbench's logs: the third column is the latency in microseconds.
fn latencies_ms(folder: &Path) -> BenchResult<Vec<f64>> {
    let mut latencies = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("p_log")) {
            for line in fs::read_to_string(&path)?.lines() {
                latencies.extend(line.split(' ').nth(2).and_then(|us| us.parse::<f64>().ok()).map(|us| us / 1000.0));
            }
            fs::remove_file(path)?;
        }
    }
    Ok(latencies)
}
