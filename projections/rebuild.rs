//! Rebuilding the read models about people: making them equal to the log and the register, a few people at a time.
//!
//! The people's rows are removed, and their events are projected again by the same code that projects them when they are written, in
//! one transaction. The rows before and after are compared, so that a rebuild says what it repaired. Sealed values stay sealed, and no
//! key is used. The transaction runs under a ticket of role `job` for exactly these people, as `lethe_api`, so that the policies for a
//! person's own rows hold here too: a login that reaches everybody's rows at once would be a second way to them that is always open.
//! The people's locks are taken alone, so their own commands wait for that transaction. Everything that writes these rows takes the
//! lock, so nothing newer can be overwritten. Everybody else is served meanwhile.
//!
//! The log says which people there are to visit, and the system may read that. Erased people are visited too, because rows of theirs,
//! if there were any, must be removed.

use std::collections::BTreeMap;

use context::SubjectId;
use db::{FromRow, Query, Row, Tx, sql};
use event_log::{Event, Inline};
use uuid::Uuid;

/// A read model about people that can be rebuilt.
pub struct Rebuild {
    /// The name that `lethe projections rebuild` takes.
    pub name: &'static str,
    /// Selects the events of people from which the rows follow, as [`Turn`]s. None of an erased person.
    pub events: fn(&[SubjectId]) -> Query,
    /// What projects them. Their statements write nothing that is there already.
    pub projections: &'static [&'static dyn Inline],
    /// Selects people's rows, as `ModelRow`s.
    pub rows: &'static str,
    /// Removes people's rows.
    pub clear: &'static str,
}

/// An event, and when it is its turn to be projected. The events of one turn are of different streams, because a statement over
/// several rows must not meet one row twice.
#[derive(FromRow)]
pub struct Turn {
    turn: i64,
    #[row(flatten)]
    event: Event,
}

/// A row of any read model: its key, and all of it.
#[derive(FromRow)]
struct ModelRow {
    key: String,
    row: String,
}

/// What a rebuild found different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Rows that were missing.
    pub added: i64,
    /// Rows with other values than they should have.
    pub corrected: i64,
    /// Rows that should not exist.
    pub removed: i64,
}

/// The ids of people, as a statement takes them.
pub(crate) fn ids(subjects: &[SubjectId]) -> Vec<Uuid> {
    subjects.iter().map(|subject| subject.0).collect()
}

impl Rebuild {
    /// The statements that read what a rebuild of people begins with: the rows as they are, and the people's events. An erased person
    /// has no events here.
    pub fn reads(&self, subjects: &[SubjectId]) -> [Query; 2] {
        [Query::new(self.rows).bind(ids(subjects)), (self.events)(subjects)]
    }

    /// The statements that make the rows anew, and the last of which reads them.
    pub fn statements(&self, subjects: &[SubjectId], events: &[Row], tx: &Tx) -> Vec<Query> {
        let turns = Turn::from_rows(events);
        let mut statements = vec![Query::new(self.clear).bind(ids(subjects))];
        for turn in turns.chunk_by(|one, next| one.turn == next.turn) {
            let events: Vec<Event> = turn.iter().map(|turn| turn.event.clone()).collect();
            self.projections.iter().for_each(|projection| projection.project(&events, tx));
        }
        statements.extend(tx.take_queue());
        statements.push(Query::new(self.rows).bind(ids(subjects)));
        statements
    }
}

/// All events of people's streams of these types, in turns: the first of each stream, then the second of each, and so on. Of an
/// account's stream only the registration, because nothing else of it leaves a row. `OFFSET 0` keeps the planner from reading all of
/// a person's events.
pub fn rebuild_events(subjects: &[SubjectId], types: &'static [&'static str]) -> Query {
    Query::new(sql!(
        "-- rebuild_events
        SELECT ",
        Turn::COLUMNS,
        " FROM unnest($1::uuid[]) AS person (id) CROSS JOIN unnest($2::text[]) AS wanted (stream_type)
        CROSS JOIN LATERAL (SELECT sequence AS turn, e.* FROM log.events e
                            WHERE subject_id = person.id AND aggregate_type = stream_type OFFSET 0) turns
        WHERE EXISTS (SELECT FROM vault.subjects s WHERE s.subject_id = person.id)
          AND (aggregate_type <> 'account' OR event_type = 'account.registered')
        ORDER BY turn, aggregate_type, aggregate_id"
    ))
    .bind(ids(subjects))
    .bind(types)
}

impl Repaired {
    /// Compares people's rows before and after.
    pub fn between(before: &[Row], after: &[Row]) -> Self {
        let of = |rows: &[Row]| -> BTreeMap<String, String> {
            rows.iter().map(ModelRow::from_row).map(|ModelRow { key, row }| (key, row)).collect()
        };
        let (before, after) = (of(before), of(after));
        let mut repaired = Self::default();
        for (key, row) in &after {
            match before.get(key) {
                None => repaired.added += 1,
                Some(other) if other != row => repaired.corrected += 1,
                Some(_) => {}
            }
        }
        repaired.removed = before.keys().filter(|key| !after.contains_key(*key)).count() as i64;
        repaired
    }
}

impl std::ops::AddAssign for Repaired {
    fn add_assign(&mut self, more: Self) {
        self.added += more.added;
        self.corrected += more.corrected;
        self.removed += more.removed;
    }
}

/// A person whom the log knows.
#[derive(FromRow)]
pub struct PersonRow {
    #[row(sql = "subject_id", with = SubjectId)]
    pub subject: SubjectId,
    /// How many events of theirs the log has, up to [`COUNTED`].
    pub events: i64,
}

/// So many events of a person are counted at most.
pub const COUNTED: i64 = 2000;

/// The next people after `after` that the log knows, in the order of their ids. The query steps from one person to the
/// next by the primary key, so that it does not read all their events.
pub fn subject_page(after: SubjectId, limit: i64) -> Query {
    Query::new(sql!(
        "-- subject_page
        WITH RECURSIVE page (subject_id, place) AS (
            (SELECT subject_id, 1::bigint FROM log.events WHERE subject_id > $1 ORDER BY subject_id LIMIT 1)
            UNION ALL
            SELECT (SELECT e.subject_id FROM log.events e WHERE e.subject_id > page.subject_id ORDER BY e.subject_id LIMIT 1),
                   page.place + 1
            FROM page WHERE page.subject_id IS NOT NULL AND page.place < $2)
        SELECT ",
        PersonRow::COLUMNS,
        " FROM (SELECT p.subject_id, p.place,
                     (SELECT count(*) FROM (SELECT FROM log.events e WHERE e.subject_id = p.subject_id LIMIT $3) counted) AS events
              FROM page p WHERE p.subject_id IS NOT NULL) people
        ORDER BY place"
    ))
    .bind(after.0)
    .bind(limit)
    .bind(COUNTED)
}
