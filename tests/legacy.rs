//! The archive of old data in a PostgreSQL. The unit tests of the module cover SQLite.

use chrono::DateTime;
use lethe::backup::legacy::{LegacyError, Source, archive, manifest_path};

use crate::support::World;

#[tokio::test]
async fn weeks_in_postgres_are_archived_and_dropped_when_that_is_asked_for() {
    let world = World::new().await;
    let client = world.superuser().await;
    client
        .batch_execute(
            "CREATE TABLE public.weekly_submissions (id int PRIMARY KEY, week_start date, hours float8, \"a Note\" text);
             INSERT INTO public.weekly_submissions SELECT n, date '2025-01-06' + 7 * n, 40.5 FROM generate_series(1, 300) n;
             UPDATE public.weekly_submissions SET hours = -1.5, \"a Note\" = '' WHERE id = 2;
             UPDATE public.weekly_submissions SET \"a Note\" = U&'\\FF1D1+1, twice' WHERE id = 10;
             CREATE TABLE public.reports (id int)",
        )
        .await
        .expect("made");
    let source = || Source::Postgres(world.database.clone(), None);
    let csv = world.folder.join("weeks.csv");
    let archived = archive(source(), &csv, false, DateTime::UNIX_EPOCH).await.expect("archived");
    assert_eq!(
        (archived.rows, archived.columns.as_slice()),
        (300, ["id", "week_start", "hours", "a Note"].map(str::to_owned).as_slice())
    );
    let text = std::fs::read_to_string(&csv).expect("read");
    let first = "id,week_start,hours,a Note\n1,2025-01-13,40.5,\n2,2025-01-20,-1.5,\"\"\n3,";
    assert!(text.starts_with(first), "in the order of numbers, null apart from an empty text: {text}");
    assert!(text.contains("\n10,2025-03-17,40.5,\"'\u{FF1D}1+1, twice\"\n"), "a text is no formula: {text}");
    assert!(manifest_path(&csv).exists());
    for taken in [csv.clone(), manifest_path(&world.folder.join("other.csv"))] {
        std::fs::write(&taken, "kept").expect("written");
    }
    for csv in [csv, world.folder.join("other.csv")] {
        let refused = archive(source(), &csv, true, DateTime::UNIX_EPOCH).await;
        assert!(matches!(refused, Err(LegacyError::Io(..))), "nothing is written over an archive, or over a manifest");
    }
    assert!(!world.folder.join("other.csv").exists());
    let again = world.folder.join("again.csv");
    let dropped = archive(source(), &again, true, DateTime::UNIX_EPOCH).await.expect("archived");
    assert_eq!(dropped.sha256, archived.sha256, "the same rows, the same file");
    let left = "SELECT to_regclass('public.weekly_submissions') IS NULL AND to_regclass('public.reports') IS NULL";
    assert!(client.query_one(left, &[]).await.expect("read").get::<_, bool>(0));
    let gone = archive(source(), &world.folder.join("none.csv"), true, DateTime::UNIX_EPOCH).await;
    assert!(matches!(gone, Err(LegacyError::Missing)));
}
