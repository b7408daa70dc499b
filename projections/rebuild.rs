//! Rebuilding the read models about people: making them equal to what log and register say, person by person.
//!
//! One set-based statement a person and model compares the rows with what must be, and adds, corrects and removes exactly what
//! differs; of sealed values it moves the ciphertext. It runs under a ticket of role `job` for that one person, as `lethe_api`,
//! whose policies for a person's own rows hold here too: a login that reaches everybody's rows at once would be a second way to
//! them, open for good. The person's lock, taken alone, keeps the person's own commands out for the length of that statement:
//! whoever writes these rows takes it, so that nothing newer can be overwritten. Everybody else is served all the while.
//!
//! Whom there is to visit the log says, which the system may read: who was ever in it, the erased included, whose rows, were
//! there any, must go. No key is used, and nothing but the ids of people leaves the database.

use context::SubjectId;
use db::{FromRow, Query, Row};
use uuid::Uuid;

/// A read model about people.
pub struct Rebuild {
    /// Its name, as `lethe projections rebuild` takes it.
    pub name: &'static str,
    /// The statement for one person; it answers with one row of [`Repaired`].
    pub statement: fn(SubjectId) -> Query,
}

/// What a rebuild found different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Repaired {
    /// Rows that were missing.
    pub added: i64,
    /// Rows that said something else.
    pub corrected: i64,
    /// Rows that should not have been there.
    pub removed: i64,
}

impl std::ops::AddAssign for Repaired {
    fn add_assign(&mut self, more: Self) {
        self.added += more.added;
        self.corrected += more.corrected;
        self.removed += more.removed;
    }
}

/// The next people that the log knows, behind `after`, in the order of their ids. Goes from one to the next by the primary key, so
/// that their events are not read.
pub fn subject_page(after: SubjectId, limit: i64) -> Query {
    Query::new(
        "-- subject_page
        WITH RECURSIVE page (subject_id, place) AS (
            (SELECT subject_id, 1::bigint FROM log.events WHERE subject_id > $1 ORDER BY subject_id LIMIT 1)
            UNION ALL
            SELECT (SELECT e.subject_id FROM log.events e WHERE e.subject_id > page.subject_id ORDER BY e.subject_id LIMIT 1),
                   page.place + 1
            FROM page WHERE page.subject_id IS NOT NULL AND page.place < $2)
        SELECT subject_id FROM page WHERE subject_id IS NOT NULL ORDER BY place",
    )
    .bind(after.0)
    .bind(limit)
}

/// Reads a row of [`subject_page`].
pub fn subject_of(row: &Row) -> SubjectId {
    SubjectId(row.get::<_, Uuid>("subject_id"))
}
