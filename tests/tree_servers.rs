//! Several servers over one tree: they take turns, and a server that is killed at any point leaves the tree whole to
//! the others.

use std::{sync::Arc, time::Duration};

use auditor::{
    source::Source,
    verify::{Trust, verify},
};
use context::{Clock, Ctx};
use db::Login;
use lethe::{
    app::{
        App,
        identity::account::{self, Registration},
        log::{published, tree},
    },
    data::{
        home::{Folder, write_secret},
        watermark::Watermark,
    },
    jobs::{Witnesses, grow_once},
    server::{self, Settings},
};
use tokio_postgres::Client;
use transparency::{Checkpoint, Policy};

use crate::{
    program::{DataFolder, Program},
    steps::submit_day,
    support::World,
    tree::{covered, said},
};

/// Grows the tree until this server has signed.
async fn signed_by(app: &Arc<App>) -> Checkpoint {
    for _ in 0..500 {
        if let Some(checkpoint) = tree::grow(app).await.expect("it grows") {
            return checkpoint;
        }
        // Transactions of other tests hold readers back for a moment.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("this server signs nothing");
}

#[tokio::test]
async fn two_servers_take_turns_at_one_tree() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let other = world.another(&Settings::new(world.folder.clone(), world.clock.clone())).await;
    let mut size = 0;
    for round in 1..=4 {
        submit_day(&world, &anna, &format!("2025-12-{round:02}")).await;
        let signed = signed_by(if round % 2 == 0 { &world.app } else { &other }).await;
        assert!(signed.size > size, "each goes on from what the other signed");
        size = signed.size;
    }
    submit_day(&world, &anna, "2025-12-05").await;
    let mut at_once = 0;
    for _ in 0..500 {
        let (one, two) = tokio::join!(tree::grow(&world.app), tree::grow(&other));
        at_once += [one, two].into_iter().filter_map(|grown| grown.expect("neither is in the other's way")).count();
        if at_once > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(at_once, 1, "one of them signs");
    let checkpoint = covered(&world).await;
    assert!(checkpoint.size > size);
    assert_eq!(said(&world, &[&checkpoint], None).await, []);
}

/// How far the log has come: events, leaves of the tree, the sizes signed and published last in the database, and the
/// size in the file outside of it.
#[derive(Debug, PartialEq, Eq)]
struct Far {
    events: u64,
    leaves: u64,
    signed: u64,
    published: u64,
    in_file: u64,
}

impl Far {
    async fn of(app: &App, client: &Client, watermark: &Watermark) -> Self {
        let sql = "SELECT (SELECT count(*) FROM log.events), coalesce((SELECT max(size) FROM log.trees), 0),
                          coalesce((SELECT max(size) FROM log.checkpoints), 0),
                          coalesce((SELECT max(size) FROM log.checkpoints WHERE witnessed), 0)";
        let row = client.query_one(sql, &[]).await.expect("counted");
        let [events, leaves, signed, published] = [0, 1, 2, 3].map(|at| row.get::<_, i64>(at).unsigned_abs());
        let public = app.vault.ring().log_public().expect("a key");
        let in_file = watermark.read(public).await.expect("read").map_or(0, |checkpoint| checkpoint.size);
        Self { events, leaves, signed, published, in_file }
    }
}

/// The points where a server is killed, and what it has stored by then: leaves and signature in the database, and the
/// file outside.
const POINTS: [(&str, bool, bool); 3] =
    [("tree: integrated", false, false), ("tree: signed", true, false), ("tree: in the file", true, true)];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_leaves_the_tree_whole_to_another() {
    let data = DataFolder::new("");
    let (store, vault) = data.cluster(&[("fsync", "off")]).await;
    let folder = Folder::open(data.path()).expect("the folder opens");
    let passwords = folder.passwords().expect("passwords");
    let settings = Settings::new(folder, Clock::system());
    // The server that lives on.
    let app = server::open(&settings, &store.database, vault, &passwords).await.expect("opens");
    let (url, watermark) = (store.database.url(&store.database.admin, None), settings.watermark());
    let client = db::admin(&store.database.address, &store.database.admin, None).await.expect("connected");
    let login = Login::Auditor.as_str();
    let password = data.path().join("auditor.password");
    write_secret(&password, passwords[login].as_bytes()).expect("written");
    let source = Source::open(&store.database.url(login, None), Some(&password), None).expect("a source");
    let serve = ["serve", "--data", data.text(), "--database", &url, "--listen", "127.0.0.1:0", "--allow-old-postgres"];
    let mut witnesses = Witnesses::of(&app);
    let mut notes = Vec::new();
    for (number, (point, stored, in_file)) in POINTS.into_iter().enumerate() {
        let person = Registration { email: format!("p{number}@klinik.example"), work: None, consents: Vec::new() };
        account::create(&app, &Ctx::system(app.clock.clone()), &person).await.expect("registered");
        let before = Far::of(&app, &client, &watermark).await;
        assert!(before.events > before.leaves, "{point}: there is something to integrate");
        Program::start_to_crash(&serve, "info", point).wait_for("killed at");
        let after = Far::of(&app, &client, &watermark).await;
        assert_eq!(
            (after.leaves > before.leaves, after.signed > before.signed),
            (stored, stored),
            "{point}: {after:?}"
        );
        assert_eq!(after.in_file > before.in_file, in_file, "{point}: {after:?}");
        assert_eq!(after.published, before.published, "{point}: it did not come so far");

        // The other server does what the killed one has left undone.
        let mut far = after;
        for _ in 0..500 {
            grow_once(&app, &mut witnesses).await.expect("it grows");
            far = Far::of(&app, &client, &watermark).await;
            if far.published == far.events {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let Far { events, .. } = far;
        let whole = Far { events, leaves: events, signed: events, published: events, in_file: events };
        assert_eq!(far, whole, "{point}");
        notes.push(published::checkpoint(&app, None).await.expect("read").expect("published").note);
        let policy = Policy::of(published::vkey(&app).await.expect("a key"));
        let trust = Trust { policy: &policy, checkpoints: &notes, against: None };
        assert_eq!(verify(&source, &trust).await.expect("verified").findings, [], "{point}");
    }
    drop((app, client, source));
    store.stop().await.expect("PostgreSQL stops");
}
