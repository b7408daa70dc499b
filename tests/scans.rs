//! Statements that a server repeats every few seconds read only what is new, however long the log is: on a filled log,
//! none of their plans reads all of it.

use context::{Role, SubjectId};
use db::{Login, Query, Session};
use event_log::{Position, Reader, tree::log_uncovered};
use projections::{
    desk::alert::{PatternQuery, deliveries_plan, pattern_find},
    operation::lag::log_stalled,
};
use serde_json::Value;
use tokio_postgres::Client;

use crate::{plans::Cost, support::World};

const EVENTS: i32 = 30_000;

/// Events of many people over a year, all covered by a tree, as a server leaves the log.
async fn fill(superuser: &Client) {
    superuser
        .batch_execute(&format!(
            "SET session_replication_role = replica;
             INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                                     subject_id, kind, recorded_at)
             SELECT 'record', n::text, 1, 'record.submitted', '1.0', '{{\"sealed\": \"x\"}}', '{{\"role\": \"subject\"}}',
                    gen_random_uuid(), md5((n / 100)::text)::uuid, 'work_day', now() - make_interval(mins => 20 * ({EVENTS} - n))
             FROM generate_series(1, {EVENTS}) n;
             INSERT INTO log.trees (tree, origin, begins, size, txid, position, moved_at)
             SELECT 1, 'lethe/x', 0, count(*), max(txid), max(position), now() FROM log.events
             ON CONFLICT (tree) DO UPDATE SET size = excluded.size, txid = excluded.txid, position = excluded.position;
             INSERT INTO log.checkpoints (tree, size, root, note, witnessed, signed_at)
             SELECT 1, n, sha256(n::text::bytea), 'note', true, now() FROM generate_series(1, 5000) n ON CONFLICT DO NOTHING;
             ANALYZE"
        ))
        .await
        .expect("filled");
}

/// The tables that a plan reads from the first row to the last.
fn whole_tables(node: &Value, found: &mut Vec<String>) {
    if node["Node Type"] == "Seq Scan" {
        found.push(node["Relation Name"].as_str().unwrap_or_default().to_owned());
    }
    node["Plans"].as_array().into_iter().flatten().for_each(|child| whole_tables(child, found));
}

/// The generic plan of a statement, as a server's session makes it.
async fn plan(client: &Client, query: &Query) -> Value {
    let values = (1..20).take_while(|number| query.sql().contains(&format!("${number}"))).count();
    let values = vec!["NULL"; values].join(", ");
    let execute = if values.is_empty() { "EXECUTE asked".to_owned() } else { format!("EXECUTE asked ({values})") };
    client.batch_execute(&format!("PREPARE asked AS {}", query.sql())).await.expect("prepared");
    let explain = format!("EXPLAIN (FORMAT JSON) {execute}");
    let row = client.query_one(&explain, &[]).await.expect("planned");
    client.batch_execute("DEALLOCATE asked").await.expect("forgotten");
    row.get::<_, Value>(0)[0]["Plan"].clone()
}

#[tokio::test]
async fn what_a_server_repeats_reads_what_is_new() {
    let world = World::new().await;
    fill(&world.superuser().await).await;
    let client = world.login(Login::System).await;
    let (session, now) = Session::begin(&client).await.expect("a session");
    let ticket = world.app.vault.ring().ticket_key().mint(SubjectId::NIL, None, Role::System, now, &session);
    client.query("SELECT lethe.show($1, false)", &[&ticket]).await.expect("shown");
    let wanted = PatternQuery {
        event_type: String::new(),
        kind: None,
        roles: Vec::new(),
        by_session: true,
        people: false,
        at_least: 1,
        since: now,
    };
    for query in [
        log_uncovered(),
        log_stalled(now),
        Reader::new(Position::default(), 2000).page(),
        pattern_find(wanted),
        deliveries_plan(Vec::new(), now),
    ] {
        let (plan, mut found) = (plan(&client, &query).await, Vec::new());
        whole_tables(&plan, &mut found);
        for table in ["events", "checkpoints", "tiles"] {
            assert!(!found.iter().any(|name| name == table), "{}\nreads all of {table}: {plan:#}", query.sql());
        }
    }
    // Uncovered events are found by their position: the statement reads no event that the tree covers.
    let analysed = format!("EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {}", log_uncovered().sql());
    let plan: Value = client.query_one(&analysed, &[]).await.expect("planned").get(0);
    let mut cost = Cost::default();
    cost.add(&plan[0]["Plan"]);
    assert!(cost.visited("log.events") <= 2, "{cost:?}\n{plan:#}");
    let uncovered = client.query_one(log_uncovered().sql(), &[]).await.expect("read");
    assert_eq!(uncovered.get::<_, Option<chrono::DateTime<chrono::Utc>>>(0), None, "all is covered");
}
