//! Activity: how many events of each type and role there were on each day, for operators and supervisors; and where in
//! the log the events of each hour lie, so that the trail of a span of time is found without reading the log.
//!
//! Rebuildable from the log. About no person: a reader learns that something happened on a day, and not to whom. An
//! erasure does not touch it. An event of a type that this version does not know becomes a dead letter and waits for a
//! version that knows the type.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, NaiveDate, TimeDelta, Utc};
use context::Role;
use db::{FromRow, Query, sql};
use domain::EVENT_TYPES;
use event_log::{PlacedEvent, Position};

use crate::{
    catch_up::{Applied, CatchUp},
    choice::choice,
};

/// Writes `read.activity` and `read.hours`.
pub const ACTIVITY: CatchUp = CatchUp { name: "activity", version: 2, apply, always, sweep };

/// A newer server wrote the event.
pub const UNKNOWN_TYPE: &str = "unknown_type";
/// The metadata do not name a role that this version knows.
pub const UNKNOWN_ROLE: &str = "unknown_role";

fn apply(generation: i64, events: &[PlacedEvent]) -> Applied {
    let mut counts: BTreeMap<(NaiveDate, &str, &str), i64> = BTreeMap::new();
    let mut applied = Applied::default();
    for PlacedEvent { position, event } in events {
        let role = event.actor().and_then(|actor| Role::parse(&actor.role));
        match (EVENT_TYPES.contains(&event.event_type.as_str()), role) {
            (false, _) => applied.unapplied.push((*position, UNKNOWN_TYPE)),
            (true, None) => applied.unapplied.push((*position, UNKNOWN_ROLE)),
            (true, Some(role)) => {
                let cell = (event.recorded_at.date_naive(), event.event_type.as_str(), role.as_str());
                *counts.entry(cell).or_default() += 1;
            }
        }
    }
    if !counts.is_empty() {
        applied.statements.push(activity_count(generation, &counts));
    }
    applied
}

/// The hours of the events, also of those that are not counted, because the trail shows them.
fn always(generation: i64, events: &[PlacedEvent]) -> Vec<Query> {
    let mut hours: BTreeMap<DateTime<Utc>, (Position, Position)> = BTreeMap::new();
    for PlacedEvent { position, event } in events {
        let hour = hours.entry(hour_of(event.recorded_at)).or_insert((*position, *position));
        *hour = (hour.0.min(*position), hour.1.max(*position));
    }
    if hours.is_empty() { Vec::new() } else { vec![hours_widen(generation, &hours)] }
}

/// The beginning of the hour in UTC.
fn hour_of(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::hours(1)).unwrap_or(time)
}

/// Adds to the counts in the order of the key, so that two transactions that add never wait for each other in a circle.
fn activity_count(generation: i64, counts: &BTreeMap<(NaiveDate, &str, &str), i64>) -> Query {
    Query::new(
        "-- activity_count
        INSERT INTO read.activity AS a (generation, day, event_type, role, events)
        SELECT $1, day, event_type, role, events
        FROM unnest($2::date[], $3::text[], $4::text[], $5::bigint[]) AS e (day, event_type, role, events)
        ON CONFLICT (generation, day, event_type, role) DO UPDATE SET events = a.events + excluded.events",
    )
    .bind(generation)
    .bind(counts.keys().map(|(day, _, _)| *day).collect::<Vec<_>>())
    .bind(counts.keys().map(|(_, event_type, _)| (*event_type).to_owned()).collect::<Vec<_>>())
    .bind(counts.keys().map(|(_, _, role)| (*role).to_owned()).collect::<Vec<_>>())
    .bind(counts.values().copied().collect::<Vec<_>>())
}

/// Widens the hours so that these places lie in them.
fn hours_widen(generation: i64, hours: &BTreeMap<DateTime<Utc>, (Position, Position)>) -> Query {
    let texts = |place: fn(&(Position, Position)) -> Position| {
        hours.values().map(|hour| place(hour).txid.to_string()).collect::<Vec<_>>()
    };
    let positions = |place: fn(&(Position, Position)) -> Position| {
        hours.values().map(|hour| place(hour).position).collect::<Vec<_>>()
    };
    Query::new(
        "-- hours_widen
        INSERT INTO read.hours AS h (generation, hour, first_txid, first_position, last_txid, last_position)
        SELECT $1, hour, first_txid::xid8, first_position, last_txid::xid8, last_position
        FROM unnest($2::timestamptz[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
             AS e (hour, first_txid, first_position, last_txid, last_position)
        ON CONFLICT (generation, hour) DO UPDATE SET
            (first_txid, first_position) = (SELECT * FROM (VALUES (h.first_txid, h.first_position),
                (excluded.first_txid, excluded.first_position)) AS place ORDER BY 1, 2 LIMIT 1),
            (last_txid, last_position) = (SELECT * FROM (VALUES (h.last_txid, h.last_position),
                (excluded.last_txid, excluded.last_position)) AS place ORDER BY 1 DESC, 2 DESC LIMIT 1)",
    )
    .bind(generation)
    .bind(hours.keys().copied().collect::<Vec<_>>())
    .bind(texts(|(first, _)| *first))
    .bind(positions(|(first, _)| *first))
    .bind(texts(|(_, last)| *last))
    .bind(positions(|(_, last)| *last))
}

fn sweep() -> Vec<Query> {
    let activity = Query::new(
        "-- activity_sweep
        DELETE FROM read.activity a
        WHERE NOT EXISTS (SELECT FROM read.checkpoints c WHERE c.name = 'activity' AND c.generation = a.generation)",
    );
    let hours = Query::new(
        "-- hours_sweep
        DELETE FROM read.hours h
        WHERE NOT EXISTS (SELECT FROM read.checkpoints c WHERE c.name = 'activity' AND c.generation = h.generation)",
    );
    vec![activity, hours]
}

/// The number of events of one type and role on one day.
#[derive(FromRow)]
pub struct ActivityRow {
    /// The day, in UTC.
    pub day: NaiveDate,
    pub event_type: String,
    /// The role in which somebody acted.
    #[row(with = choice)]
    pub role: Role,
    pub events: i64,
}

/// Where a count stands in the list of counts: by its day, the type of the events and the role.
pub type ActivityPlace = (NaiveDate, String, String);

impl ActivityRow {
    pub fn place(&self) -> ActivityPlace {
        (self.day, self.event_type.clone(), self.role.as_str().to_owned())
    }
}

/// The counts of a range of days, both ends included, from the generation that is shown.
pub fn activity_list(from: NaiveDate, to: NaiveDate) -> Query {
    Query::new(sql!(
        "-- activity_list
        SELECT ",
        ActivityRow::COLUMNS,
        "
        FROM read.activity a JOIN read.projections p ON p.name = 'activity' AND p.active = a.generation
        WHERE a.day BETWEEN $1 AND $2"
    ))
    .bind(from)
    .bind(to)
}

#[cfg(test)]
mod tests {
    use context::{EventId, SubjectId};
    use event_log::Event;

    use super::*;

    fn placed(position: i64, event_type: &str, metadata: &str) -> PlacedEvent {
        let recorded_at: DateTime<Utc> = "2026-03-02T23:59:59Z".parse().expect("a time");
        let event = Event {
            aggregate_type: "record".to_owned(),
            aggregate_id: "day".to_owned(),
            sequence: position,
            event_type: event_type.to_owned(),
            event_version: "1.0".to_owned(),
            payload: "{}".to_owned(),
            metadata: metadata.to_owned(),
            event_id: EventId::random(),
            subject_id: SubjectId::random(),
            kind: "work_day".to_owned(),
            recorded_at,
        };
        PlacedEvent { position: Position { txid: 7, position }, event }
    }

    const ANNA: &str = r#"{"role":"subject","request":"r"}"#;

    #[test]
    fn a_page_makes_one_statement_whatever_it_holds() {
        let page = [placed(1, "record.submitted", ANNA), placed(2, "record.amended", ANNA)];
        let applied = apply(1, &page);
        assert_eq!((applied.statements.len(), applied.unapplied.len()), (1, 0));
        assert!(apply(1, &[]).statements.is_empty());
    }

    #[test]
    fn what_it_does_not_know_is_set_aside_by_position_and_reason() {
        let page = [
            placed(1, "record.digitised", ANNA),
            placed(2, "record.submitted", "{}"),
            placed(3, "record.submitted", r#"{"role":"emperor","request":"r"}"#),
        ];
        let applied = apply(1, &page);
        assert!(applied.statements.is_empty());
        assert_eq!(always(1, &page).len(), 1, "their hours are noted all the same");
        let found: Vec<_> = applied.unapplied.iter().map(|(place, reason)| (place.position, *reason)).collect();
        assert_eq!(found, [(1, UNKNOWN_TYPE), (2, UNKNOWN_ROLE), (3, UNKNOWN_ROLE)]);
    }
}
