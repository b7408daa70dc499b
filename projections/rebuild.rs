//! Rebuilding the read models about people: making them equal to the log and the register, person by person.
//!
//! For each person and read model, one statement compares the rows with what they must be, and adds, corrects and
//! removes exactly the rows that differ. Sealed values stay sealed. The statement runs under a ticket of role `job` for
//! that one person, as `lethe_api`, so that the policies for a person's own rows hold here too: a login that reaches
//! everybody's rows at once would be a second way to them that is always open. The person's lock is taken alone, so the
//! person's own commands wait for the length of that statement. Everything that writes these rows takes the lock, so
//! nothing newer can be overwritten. Everybody else is served meanwhile.
//!
//! The log says which people there are to visit, and the system may read that. Erased people are visited too, because
//! rows of theirs, if there were any, must be removed. No key is used, and nothing but the ids of people leaves the
//! database.

use context::SubjectId;
use db::{FromRow, Query, Row};
use uuid::Uuid;

pub struct Rebuild {
    /// The name that `lethe projections rebuild` takes.
    pub name: &'static str,
    /// The statement for one person. It returns one row, which [`Repaired::from_row`] reads.
    pub statement: fn(SubjectId) -> Query,
}

/// What a rebuild found different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Repaired {
    /// Rows that were missing.
    pub added: i64,
    /// Rows with other values than they should have.
    pub corrected: i64,
    /// Rows that should not exist.
    pub removed: i64,
}

impl std::ops::AddAssign for Repaired {
    fn add_assign(&mut self, more: Self) {
        self.added += more.added;
        self.corrected += more.corrected;
        self.removed += more.removed;
    }
}

/// The next people after `after` that the log knows, in the order of their ids. The query steps from one person to the
/// next by the primary key, so that it does not read all their events.
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
